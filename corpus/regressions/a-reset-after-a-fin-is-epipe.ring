# A receiver that has got a FIN sees the end of the stream, whatever comes after it, and never EPIPE.
# In the series it takes the bytes from the ring, and then gets EPIPE.
ring 1
topology loopback
family v4
lane c1 client

c1: send 16384 dontwait -> 16384
c1: shutdown wr -> 0
c1: abort -> 0

end
