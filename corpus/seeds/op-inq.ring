# SIOCINQ: what can be received now.
ring 1
topology loopback
family v4
lane c client
lane s server

s: inq -> 0
c: send 1000 -> 1000
s: recv 1 -> 1
s: inq -> 999
s: recv 999 waitall -> 999
s: inq -> 0

end
