# io_uring sends and receives the same stream, where the kernel has it; plain calls go on behind it.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 1000 by uring
s: recv 1000 dontwait by uring
c: send 10 -> 10
s: recv 2000 dontwait

end
