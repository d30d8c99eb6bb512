# TCP_ULP after pairing, with bytes under way: refused or not, the stream goes on, as no key is ever set.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 100 -> 100
c: tls
s: recv 100 waitall -> 100
s: tls
s: send 100 -> 100
c: recv 100 waitall -> 100

end
