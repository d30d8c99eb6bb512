# SOCK_DESTROY: somebody with the right to do so ends the connection under both.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 100 -> 100
s: destroy
s: recv 100 dontwait
s: send 10 nosignal dontwait
c: recv 1 dontwait
c: send 10 nosignal dontwait
c: close -> 0

end
