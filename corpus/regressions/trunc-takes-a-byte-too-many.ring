# MSG_TRUNC consumes what it counts, after a receive of urgent data, too.
# In the series that receive has taken an ordinary byte.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 10 dontwait -> 10
s: recv 1 oob dontwait -> einval
s: recv 1 trunc dontwait -> 1
s: recv 10 dontwait -> 9

end
