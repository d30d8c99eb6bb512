# A socket that was disconnected and connected again starts a fresh stream.
# In the series a byte of the earlier connection comes out of it.
ring 1
topology loopback
family v4
lane c2 client
lane s2 server

s2: send 10 dontwait -> 10
c2: disconnect -> 0
c2: connect -> 0

end
