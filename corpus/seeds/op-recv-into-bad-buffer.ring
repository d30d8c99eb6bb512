# A receive that cannot write fails and takes nothing out of the stream.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 100 -> 100
s: recv 100 into unmapped -> efault
s: recv 100 into torn 50 -> efault
s: recv 100 -> 100

end
