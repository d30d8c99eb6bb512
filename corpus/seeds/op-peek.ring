# A peek sees what the next receive gets and consumes nothing.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 1000 -> 1000
s: recv 400 peek -> 400
s: recv 1000 peek waitall -> 1000
s: recv 300 -> 300
s: recv 1000 peek -> 700
s: recv 700 waitall -> 700
s: recv 1 peek dontwait -> eagain

end
