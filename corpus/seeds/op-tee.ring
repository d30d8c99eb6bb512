# What is in the pipe of a splice is shared with a second pipe, which gives the same bytes: behind a send that fills
# the ring, too, and before a receive that finds bytes of the ring and of TCP.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 1000 by tee -> 1000
s: recv 1000 by tee -> 1000
c: send 16384 by tee -> 16384
c: send 500 more by tee -> 500
c: send 500 by tee -> 500
s: recv 10000 waitall -> 10000
s: recv 4000 by tee -> 4000
s: recv 1048576 by tee -> 3384
c: shutdown wr -> 0
s: recv 1 by tee -> 0

end
