# A message that fills the ring and a byte behind it: splice(2) begins with the first.
# In the series it begins with what went over TCP.
ring 1
topology loopback
family v4
set client nonblock on
set server nonblock on
lane c client
lane s server

s: send 16384 -> 16384
c: recv 1 by splice -> 1

end
