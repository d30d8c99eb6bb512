# A receive of urgent data fails with EINVAL after a reset, too, and leaves the error to the next call.
# In the series it takes the error.
ring 1
topology loopback
family v4
lane c client
lane s server

s: disconnect -> 0
c: recv 1 oob dontwait -> einval

end
