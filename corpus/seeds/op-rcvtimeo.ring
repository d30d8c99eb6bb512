# SO_RCVTIMEO: a receive of nothing gives up after it, and one of something does not need it.
ring 1
topology loopback
family v4
lane c client
lane s server

s: set rcvtimeo 20 -> 0
s: recv 1 -> eagain
c: send 1 -> 1
s: recv 1 -> 1
s: set rcvtimeo 0 -> 0

end
