# MSG_DONTWAIT and O_NONBLOCK on a socket that has nothing: the answer is EAGAIN at once, before the
# first byte and after the last.
ring 1
topology loopback
family v4
set client nonblock on
lane c client
lane s server

s: recv 10 dontwait -> eagain
c: recv 10 -> eagain
c: send 10 -> 10
s: recv 10 -> 10
s: recv 10 dontwait -> eagain

end
