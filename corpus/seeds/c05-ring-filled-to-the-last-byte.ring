# A ring that is exactly full must not look like one that is empty.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 16384 -> 16384
s: recv 16384 waitall -> 16384
s: recv 1 dontwait -> eagain
c: send 16384 -> 16384
s: recv 16384 waitall -> 16384

end
