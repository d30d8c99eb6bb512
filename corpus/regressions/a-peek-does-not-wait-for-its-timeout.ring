# SO_RCVTIMEO is how long a receive waits, a peek as well.
# In the series a peek that finds the ring empty fails at once.
ring 1
topology loopback
family v4
set server rcvtimeo 50
lane c client
lane s server

start s: recv 1 peek
c: send 1 dontwait

end
