# SO_KEEPALIVE: probes go unnoticed as long as the peer is there.
ring 1
topology loopback
family v4
set server keepalive on
lane c client
lane s server

c: set keepalive on -> 0
c: send 10 -> 10
s: recv 10 -> 10
c: pause 100000
c: poll -> out|wrnorm
s: poll -> out|wrnorm

end
