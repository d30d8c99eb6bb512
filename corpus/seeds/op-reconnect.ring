# The same socket again: disconnected with bytes under way, which must not show up in the next connection.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 100 -> 100
c: disconnect
c: connect
c: send 10
s: recv 100 dontwait
c: close -> 0

end
