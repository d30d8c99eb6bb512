# The FIN takes the normal path while the bytes before it may wait in the ring:
# the end of the stream comes after the last of them.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 10000 -> 10000
c: close -> 0
s: recv 4000 waitall -> 4000
s: recv 6000 waitall -> 6000
s: recv 1 -> 0
s: recv 1 -> 0

end
