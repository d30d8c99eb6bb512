# SO_LINGER with a second: close waits until the peer's kernel has everything, and the peer reads all of it.
# With zero seconds close resets.
ring 1
topology loopback
family v4
lane c client
lane s server

c: set linger 1 -> 0
c: send 100 -> 100
c: close -> 0
s: recv 200 -> 100
s: recv 1 -> 0
s: set linger 0 -> 0
s: close -> 0

end
