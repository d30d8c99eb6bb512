# Both ends send and then receive at the same time.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 1000 -> 1000
with s: send 1000 -> 1000
with c: recv 1000 waitall -> 1000
with s: recv 1000 waitall -> 1000

end
