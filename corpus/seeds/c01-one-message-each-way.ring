# One message there and one back: the least that a pair must do.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 100 -> 100
s: recv 4096 -> 100
s: send 200 -> 200
c: recv 4096 -> 200

end
