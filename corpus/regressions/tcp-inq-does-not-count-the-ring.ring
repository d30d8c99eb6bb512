# TCP_INQ says how many bytes are left.
# In the series a peek counts itself, and not what is in the ring.
ring 1
topology loopback
family v4
set server tcp-inq on
lane c client
lane s server

c: send 16384 dontwait -> 16384
s: recv 1 peek dontwait -> 1

end
