# What a second sender sends comes behind what the first one sent before, though a splice has taken a part of that.
# In the series it comes first, because the splice left nothing in TCP.
ring 1
topology loopback
family v4
lane c client
lane s server
lane s2 server

s2: send 401 dontwait -> 401
s: send 16384 dontwait -> 16384
c: recv 10 by splice -> 10

end
