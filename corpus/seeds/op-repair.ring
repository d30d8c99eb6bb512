# TCP_REPAIR on and off again, with bytes under way: refused or not, the stream goes on.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 100 -> 100
c: repair
c: send 100 -> 100
s: repair
s: recv 200 waitall -> 200
s: send 10 -> 10
c: recv 10 -> 10

end
