# What was sent before a close is seen before the end of the stream, also by MSG_PEEK.
# In the series the peek finds the end.
ring 1
topology loopback
family v4
lane c client
lane s server

s: send 1 dontwait -> 1
s: close -> 0
c: recv 1 peek dontwait -> 1

end
