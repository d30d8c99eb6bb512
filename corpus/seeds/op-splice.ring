# splice from a pipe into the stream, and from the stream into a pipe.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 1000 by splice -> 1000
s: recv 1000 by splice -> 1000
c: send 500 more by splice -> 500
c: send 500 by splice -> 500
s: recv 1000 waitall -> 1000
s: recv 1 dontwait -> eagain

end
