# What is in the receive queue is handed out before the reset is reported, also to MSG_PEEK.
# In the series the peek finds the reset only.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 10 dontwait -> 10
s: recv 1 dontwait -> 1
c: abort -> 0
s: recv 1 peek dontwait -> 1

end
