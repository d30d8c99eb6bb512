# Buffers at the kernel's minimum: the kernel raises what is asked for, and the stream still flows.
# Only as much as fits is sent before it is read.
ring 1
topology loopback
family v4
set client sndbuf 1
set server rcvbuf 1
lane c client
lane s server

c: send 1000 -> 1000
s: recv 1000 waitall -> 1000
c: send 1000 -> 1000
s: recv 1000 waitall -> 1000
s: set rcvbuf 65536 -> 0
c: set sndbuf 65536 -> 0
c: send 10000 dontwait
s: recv 100 -> 100

end
