# Close with a zero linger time, and bytes under way: the peer sees a reset, with or without them.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 100 -> 100
c: abort -> 0
s: recv 1000
s: recv 1000
s: send 10 nosignal
s: close -> 0

end
