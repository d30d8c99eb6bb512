# Both directions run over their rings at the same time and must not meet.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 20000 -> 20000
s: send 18000 -> 18000
s: recv 9000 waitall -> 9000
c: recv 9000 waitall -> 9000
c: send 4000 -> 4000
s: send 4000 -> 4000
s: recv 15000 waitall -> 15000
c: recv 13000 waitall -> 13000

end
