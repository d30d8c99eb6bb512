# sendmmsg and recvmmsg: several messages in one call are a stream all the same.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 100 by batch 4 -> 100
s: recv 100 by batch 4 -> 100
c: send 100 by batch 2 -> 100
s: recv 100 waitall -> 100

end
