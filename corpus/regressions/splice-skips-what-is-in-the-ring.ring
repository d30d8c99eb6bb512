# A message of more than the ring holds: splice(2) begins with its first byte.
# In the series it begins behind what is in the ring.
ring 1
topology loopback
family v4
set client nonblock on
set server nonblock on
lane c client
lane s server

s: send 16394 -> 16394
c: recv 1 by splice -> 1

end
