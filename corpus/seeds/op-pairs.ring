# Two pairs at the same time: neither gets what the other sends.
ring 1
topology loopback
family v4
pairs 2
lane c client
lane s server
lane d client 1
lane t server 1

c: send 1000 -> 1000
with d: send 500 -> 500
with s: recv 1000 waitall -> 1000
with t: recv 500 waitall -> 500
c: close -> 0
s: recv 1 -> 0
t: send 10 -> 10
d: recv 10 -> 10

end
