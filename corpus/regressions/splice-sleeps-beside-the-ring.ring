# splice(2) finds what was sent.
# In the series it sleeps beside it.
ring 1
topology loopback
family v4
set server nodelay on
lane c client
lane s server

s: send 1449 dontwait by uring -> 1449
c: recv 3 by splice -> 3

end
