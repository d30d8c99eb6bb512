# A sender whose peer reads nothing is held back sooner or later: what a connection holds is bounded.
# The small buffers make it sooner.
ring 1
topology loopback
family v4
set client sndbuf 4096
set server rcvbuf 4096
lane c client
lane s server

c: send 65536 dontwait
c: send 65536 dontwait
c: send 65536 dontwait
c: send 65536 dontwait
c: send 65536 dontwait
c: send 65536 dontwait
c: send 65536 dontwait
c: send 65536 dontwait -> eagain

end
