# Small messages with and without Nagle's algorithm.
ring 1
topology loopback
family v4
set client nodelay on
lane c client
lane s server

c: send 10 -> 10
c: send 10 -> 10
s: recv 20 waitall -> 20
c: set nodelay off -> 0
c: send 10 -> 10
c: send 10 -> 10
c: set nodelay on -> 0
s: recv 20 waitall -> 20

end
