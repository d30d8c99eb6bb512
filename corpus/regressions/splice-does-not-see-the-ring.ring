# splice(2) moves what was sent.
# In the series it does not see the ring: EAGAIN.
ring 1
topology loopback
family v4
set client nonblock on
set server nonblock on
lane c client
lane s server

s: send 1 -> 1
c: recv 1 by splice -> 1

end
