# What a small server does: look, read, answer, end.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 300 -> 300
c: shutdown wr -> 0
s: recv 4096 -> 300
s: recv 4096 -> 0
s: send 200 more -> 200
s: send 8000 -> 8000
s: close -> 0
c: recv 8200 waitall -> 8200
c: recv 4096 -> 0
c: close -> 0

end
