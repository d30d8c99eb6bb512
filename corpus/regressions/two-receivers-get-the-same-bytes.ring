# Two receivers on one socket get each byte once, together. A race: in the series some runs deliver bytes twice.
ring 1
topology loopback
family v4
lane c client
lane c3 client
lane s server

s: send 100 -> 100
c3: recv 100 dontwait
with c: recv 100 dontwait

end
