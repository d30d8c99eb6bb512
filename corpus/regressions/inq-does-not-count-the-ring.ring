# SIOCINQ counts what can be received.
# The series documents that it does not count the ring.
ring 1
topology loopback
family v4
lane c0 client
lane s0 server

c0: send 1 dontwait -> 1
s0: inq -> 1

end
