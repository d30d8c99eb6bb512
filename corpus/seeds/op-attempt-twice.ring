# Each side asks for the pair twice: the second time changes nothing.
ring 1
topology loopback
family v4
attempt twice
lane c client
lane s server

c: send 10 -> 10
s: recv 10 -> 10
s: send 10 -> 10
c: recv 10 -> 10

end
