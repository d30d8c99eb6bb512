# The first message leaves 384 bytes of the 16 KiB ring, so the second one does not fit:
# its head may take the ring while its tail takes TCP. The reader must not be able to tell.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 16000 -> 16000
c: send 1000 -> 1000
s: recv 17000 waitall -> 17000

end
