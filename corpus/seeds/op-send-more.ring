# MSG_MORE: more is coming, so the bytes may wait for it, but not beyond it.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 100 more -> 100
c: send 100 more -> 100
c: send 100 -> 100
s: recv 300 waitall -> 300

end
