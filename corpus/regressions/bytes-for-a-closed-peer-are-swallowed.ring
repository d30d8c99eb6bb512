# A byte for a peer that has closed is answered by a reset.
# In the series it goes into the ring, and nobody ever hears of it.
ring 1
topology loopback
family v4
lane c client
lane s server

c: close -> 0
s: send 1 dontwait -> 1

end
