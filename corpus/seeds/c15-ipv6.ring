# The same over IPv6. The posted program pairs IPv4 only, so here everything may go over TCP.
ring 1
topology loopback
family v6
lane c client
lane s server

c: send 100 -> 100
s: recv 100 -> 100
s: send 20000 -> 20000
c: recv 20000 waitall -> 20000
c: close -> 0
s: recv 1 -> 0

end
