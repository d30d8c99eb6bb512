# MSG_TRUNC takes the oldest byte.
# In the series it takes the one that was sent last, out of the ring, before those that TCP holds back.
ring 1
topology loopback
family v4
set client cork on
lane c client
lane s server

c: send 16389 dontwait -> 16389
s: recv 16384 dontwait
c: send 1 dontwait -> 1
s: recv 1 trunc dontwait

end
