# After connect(AF_UNSPEC) a socket sends nothing more.
# In the series its bytes still go into the ring.
ring 1
topology loopback
family v4
lane c client

c: disconnect -> 0
c: send 1 dontwait -> econnreset
c: send 1 dontwait -> epipe

end
