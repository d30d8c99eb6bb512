# dup: the socket lives until its last descriptor is closed.
ring 1
topology loopback
family v4
lane c client
lane s server

s: dup
s: close -> 0
c: send 10 -> 10
s: recv 10 -> 10
s: close -> 0
c: recv 1 -> 0

end
