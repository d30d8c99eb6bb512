# What is in the receive queue is seen before the end of the stream, also by MSG_PEEK.
# In the series the peek finds the end.
ring 1
topology loopback
family v4
lane c client
lane s2 server

s2: send 1 dontwait -> 1
c: poll -> in|out|rdnorm|wrnorm
s2: abort -> 0
c: send 1 dontwait -> econnreset
c: recv 1 peek dontwait -> 1

end
