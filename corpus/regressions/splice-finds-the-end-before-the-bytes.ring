# After SHUT_RD what has arrived can still be spliced.
# In the series splice(2) does not see the ring.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 1 dontwait -> 1
s: shutdown rdwr -> 0
s: recv 1 by splice -> 1

end
