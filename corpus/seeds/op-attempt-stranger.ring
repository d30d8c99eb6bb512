# The second pair is asked for with an endpoint of the first one, too: none hears of the other.
ring 1
topology loopback
family v4
pairs 2
attempt stranger
lane c client
lane s server
lane d client 1
lane t server 1

c: send 10 -> 10
d: send 20 -> 20
s: recv 100 -> 10
t: recv 100 -> 20

end
