# A message that fills the ring and goes on over TCP is there as a whole: MSG_WAITALL takes all of it.
# The series returns what was in the ring.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 16384 dontwait -> 16384
s: recv 16384 waitall dontwait -> 16384

end
