# MSG_PEEK sees what a receive would see. The series documents that it does not.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 1 dontwait -> 1
s: recv 1 peek dontwait -> 1

end
