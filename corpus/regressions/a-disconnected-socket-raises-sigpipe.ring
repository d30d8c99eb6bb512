# After connect(AF_UNSPEC) the first send returns the reset, and the next one EPIPE.
# In the series that one raises SIGPIPE, and puts bytes into the ring all the same.
ring 1
topology loopback
family v4
lane c client

c: disconnect -> 0
c: send 1 dontwait -> econnreset
c: send 16384 dontwait -> epipe

end
