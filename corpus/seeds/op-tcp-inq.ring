# TCP_INQ: each receive says how much is left behind it.
ring 1
topology loopback
family v4
lane c client
lane s server

s: set tcp-inq on -> 0
c: send 1000 -> 1000
s: recv 300 -> 300
s: inq -> 700
s: recv 700 -> 700
s: set tcp-inq off -> 0
c: send 10 -> 10
s: recv 5 -> 5

end
