# Each send with MSG_ZEROCOPY is completed on the error queue.
# In the series those that take the ring are not.
ring 1
topology loopback
family v4
set server zerocopy on
lane s server

s: send 1 zerocopy dontwait -> 1

end
