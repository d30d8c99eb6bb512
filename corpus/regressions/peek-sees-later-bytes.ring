# A message that fills the ring and goes on over TCP: MSG_PEEK begins with its first byte.
# In the series it begins with what went over TCP.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 16384 dontwait -> 16384
s: recv 1 peek dontwait -> 1

end
