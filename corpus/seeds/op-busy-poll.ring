# SO_BUSY_POLL, where the kernel has it: a receive that waits awake gets what one gets that sleeps.
ring 1
topology loopback
family v4
lane c client
lane s server

s: set busy-poll 50
start s: recv 100 -> 10
c: send 10 -> 10

end
