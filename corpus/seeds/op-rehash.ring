# An endpoint's entry in the SOCKHASH is replaced by itself: nothing happens to the stream.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 100 -> 100
s: rehash
c: rehash
c: send 100 -> 100
s: recv 200 waitall -> 200
s: send 10 -> 10
c: recv 10 -> 10

end
