# A byte that is sent over the new connection of a disconnected socket is seen by poll and received by recvmsg.
# In the series it is not: it was put into the ring of the connection before.
ring 1
topology loopback
family v4
lane c client
lane s server

c: disconnect -> 0
c: connect -> 0
c: send 1 dontwait -> 1
s: poll -> in|out|rdnorm|wrnorm
s: recv 1 dontwait by vector 2 -> 1

end
