# SO_PEEK_OFF: each peek begins where the one before ended, and a receive begins at the first byte.
ring 1
topology loopback
family v4
lane c client
lane s server

s: set peek-off 0 -> 0
c: send 100 -> 100
s: recv 40 peek -> 40
s: recv 40 peek -> 40
s: recv 40 peek -> 20
s: recv 100 -> 100

end
