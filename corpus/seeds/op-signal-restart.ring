# With SA_RESTART, the receive goes on as if there had been no signal.
ring 1
topology loopback
family v4
lane c client
lane s server

start s: recv 10 -> 10
c: signal s restart
c: send 10 -> 10

end
