# After shutdown(SHUT_WR) a send fails with EPIPE, be it of nothing.
# The series returns 0.
ring 1
topology loopback
family v4
lane c client

c: shutdown wr -> 0
c: send 0 dontwait -> epipe

end
