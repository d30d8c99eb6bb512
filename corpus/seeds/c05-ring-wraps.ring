# The second message crosses the end of the 16 KiB ring: 8384 bytes before it, 3616 after.
# The first is read before, so all of it fits.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 8000 -> 8000
s: recv 8000 waitall -> 8000
c: send 12000 -> 12000
s: recv 12000 waitall -> 12000

end
