# An abort reaches the peer as a reset, reported once; what is left then is the end of the stream.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 10 -> 10
s: recv 10 -> 10
c: abort -> 0
s: recv 10 -> econnreset
s: recv 10 -> 0
s: send 10 nosignal -> epipe
s: so-error -> 0

end
