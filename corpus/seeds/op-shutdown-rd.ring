# SHUT_RD ends receiving at this side and is not told to the other, which goes on.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 10 -> 10
s: recv 1 -> 1
s: shutdown rd -> 0
s: recv 100 -> 9
s: recv 100 -> 0
s: send 10 -> 10
c: recv 10 -> 10

end
