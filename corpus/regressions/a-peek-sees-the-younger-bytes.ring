# A peek finds the bytes that the next receive would return.
# In the series it looks into TCP's queue first, where a send went that found no room in the ring.
ring 1
topology loopback
family v4
lane c client
lane s server
lane s2 server

s: send 16383 dontwait -> 16383
s2: send 1 dontwait -> 1
c: recv 1 peek dontwait -> 1

end
