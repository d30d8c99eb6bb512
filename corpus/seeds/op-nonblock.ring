# O_NONBLOCK makes each call one that does not wait, as MSG_DONTWAIT does for one call.
ring 1
topology loopback
family v4
lane c client
lane s server

s: set nonblock on -> 0
s: recv 10 -> eagain
s: recv 10 waitall -> eagain
s: set nonblock off -> 0
s: recv 10 dontwait -> eagain
c: send 10 -> 10
s: recv 10 -> 10

end
