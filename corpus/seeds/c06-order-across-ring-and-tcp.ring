# The ring is filled and the rest of the stream goes over TCP. Then half of the ring is read, so there is
# room again while older bytes still wait in the TCP queue: the last message must not overtake them.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 16384 -> 16384
c: send 5000 -> 5000
s: recv 8000 waitall -> 8000
c: send 3000 -> 3000
s: recv 16384 waitall -> 16384
s: recv 1 dontwait -> eagain

end
