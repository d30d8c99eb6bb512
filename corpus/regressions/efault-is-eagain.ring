# A receive of a byte into unmapped memory fails with EFAULT.
# The series returns EAGAIN.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 1 dontwait -> 1
s: recv 1 dontwait into unmapped -> efault

end
