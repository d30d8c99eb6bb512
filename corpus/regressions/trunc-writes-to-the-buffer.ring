# MSG_TRUNC leaves the buffer alone (tcp(7)).
# The series copies the byte.
ring 1
topology loopback
family v4
lane c client
lane s server

s: send 1 dontwait -> 1
c: recv 1 trunc dontwait -> 1

end
