# SIOCATMARK: true where the next byte is the urgent one.
ring 1
topology loopback
family v4
lane c client
lane s server

s: at-mark -> 0
c: send 3 oob -> 3
s: at-mark -> 0
s: recv 10 -> 2
s: at-mark -> 1
s: recv 1 oob -> 1

end
