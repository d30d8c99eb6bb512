# What MSG_MORE holds back is older than the next send.
# The series puts that into the ring, where it is received first.
ring 1
topology loopback
family v4
lane c0 client
lane s0 server

c0: send 16384 more dontwait -> 16384
s0: recv 10 dontwait
c0: send 10 dontwait -> 10

end
