# A receive is restarted after a handler with SA_RESTART.
# In the series it fails with EINTR.
ring 1
topology loopback
family v4
lane c client
lane s server

start c: recv 1 -> 1
s: signal c restart -> 0
s: send 1 dontwait -> 1

end
