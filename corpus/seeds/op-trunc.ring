# MSG_TRUNC on TCP counts and consumes but writes nothing: the buffer need not even exist.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 1000 -> 1000
s: recv 300 trunc -> 300
s: recv 300 trunc into unmapped -> 300
s: recv 400 -> 400

end
