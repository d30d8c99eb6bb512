# A receive and a send are released together, and the send comes later.
ring 1
topology loopback
family v4
lane c client
lane s server

s: recv 10 -> 10
with c: send 10 after 500 -> 10
c: send 100 more -> 100
with s: recv 200 waitall -> 200
with c: send 100 after 1000 -> 100

end
