# Nothing sent is nothing to receive, and asking for nothing takes nothing.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 0 -> 0
s: recv 10 dontwait -> eagain
c: send 10 -> 10
s: recv 1 -> 1
s: recv 0 -> 0
s: recv 9 -> 9
s: recv 0 dontwait -> eagain

end
