# A send that cannot read its buffer fails, and the next one goes on where the stream was.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 100 from unmapped -> efault
c: send 100 from torn 50 -> efault
c: send 100 -> 100
s: recv 1000 -> 100

end
