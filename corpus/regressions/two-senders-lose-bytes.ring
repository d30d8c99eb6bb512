# Two senders on one socket lose nothing. A race: in the series some runs lose a message.
ring 1
topology loopback
family v4
lane c client
lane c2 client

c2: send 1 dontwait -> 1
with c: send 4096 dontwait -> 4096
c2: send 2 dontwait -> 2
with c: send 1 dontwait -> 1

end
