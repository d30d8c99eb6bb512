# Two threads send over one socket, and two receive: each byte comes once.
ring 1
topology loopback
family v4
lane c client
lane s server
lane d client
lane t server

c: send 1000 -> 1000
with d: send 1000 -> 1000
s: recv 1000 waitall -> 1000
with t: recv 1000 waitall -> 1000

end
