# A signal ends a receive that sleeps; nothing is lost by it. The poll waits for the receive's end.
ring 1
topology loopback
family v4
lane c client
lane s server

start s: recv 10 -> eintr
c: signal s
s: poll -> out|wrnorm
c: send 10 -> 10
s: recv 10 -> 10

end
