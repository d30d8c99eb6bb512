# MSG_WAITALL gathers what came in several messages.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 100 -> 100
c: send 20000 -> 20000
c: send 1 -> 1
s: recv 20101 waitall -> 20101

end
