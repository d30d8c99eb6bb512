# fork: a child that holds the socket keeps it alive, and the parent's close is the last one.
ring 1
topology loopback
family v4
lane c client
lane s server

s: fork
s: close -> 0
c: send 10 -> 10
s: recv 10 -> 10
s: close -> 0
c: recv 1 -> 0

end
