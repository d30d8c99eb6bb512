# One byte of two is read, so the other is there for certain: poll must say so, and stop saying so
# when it is read.
ring 1
topology loopback
family v4
lane c client
lane s server

s: poll -> out|wrnorm
c: send 2 -> 2
s: recv 1 -> 1
s: poll -> in|out|rdnorm|wrnorm
s: recv 1 -> 1
s: poll -> out|wrnorm

end
