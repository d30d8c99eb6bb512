# The program is detached: the pair stays, and the next connection is plain TCP.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 100 -> 100
c: detach
c: send 100 -> 100
s: recv 200 waitall -> 200
s: close -> 0
c: recv 1 -> 0
c: abort -> 0
c: connect
c: send 10
s: recv 10 dontwait

end
