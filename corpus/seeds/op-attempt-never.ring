# Nobody asks for a pair: plain TCP, with everything else in place.
ring 1
topology loopback
family v4
attempt never
lane c client
lane s server

c: send 10 -> 10
s: recv 10 -> 10
s: close -> 0
c: recv 1 -> 0

end
