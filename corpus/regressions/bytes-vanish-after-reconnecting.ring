# A byte that is sent over the new connection of a disconnected socket arrives.
# In the series it is accepted, and never seen again.
ring 1
topology loopback
family v4
lane c client
lane s server

c: disconnect -> 0
c: connect -> 0
c: send 1 dontwait -> 1
s: recv 1 dontwait -> 1

end
