# After connect(AF_UNSPEC) a socket receives nothing more.
# In the series it still gets what was sent before.
ring 1
topology loopback
family v4
lane c1 client
lane s1 server

c1: send 1 dontwait -> 1
s1: disconnect -> 0
s1: recv 1 dontwait

end
