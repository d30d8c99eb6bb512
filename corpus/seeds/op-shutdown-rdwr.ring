# SHUT_RDWR ends both directions of one side; what it had sent before still arrives.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 10 -> 10
c: shutdown rdwr -> 0
c: recv 1 -> 0
c: send 1 nosignal -> epipe
s: recv 10 -> 10
s: recv 1 -> 0

end
