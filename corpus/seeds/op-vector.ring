# writev and readv: the pieces of a buffer are one stretch of the stream, however either side cuts it.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 1000 by vector 3 -> 1000
s: recv 400 by vector 2 -> 400
s: recv 600 waitall by vector 16 -> 600
s: send 1 by vector 4 -> 1
c: recv 1 -> 1

end
