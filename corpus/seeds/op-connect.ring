# A connection that is aborted, and the next one from the same port: its own stream, and a new pair.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 100 -> 100
c: abort -> 0
c: connect
c: send 10
s: recv 100 dontwait
s: send 10
c: recv 100 dontwait

end
