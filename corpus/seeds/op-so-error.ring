# SO_ERROR on a healthy socket, and after a receive has reported the reset: an error is told once.
ring 1
topology loopback
family v4
lane c client
lane s server

c: so-error -> 0
s: abort -> 0
c: recv 1 -> econnreset
c: so-error -> 0

end
