# Urgent data goes over TCP while the bytes before and after it may take the ring.
# The urgent byte is not part of the stream; a receive stops where it was.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 10 -> 10
s: recv 10 -> 10
c: send 2 oob -> 2
c: send 10 -> 10
s: recv 20 -> 1
s: recv 1 oob -> 1
s: recv 10 waitall -> 10
c: send 10 -> 10
s: recv 10 waitall -> 10

end
