# One message of twice the ring and a byte.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 32769 -> 32769
s: recv 32769 waitall -> 32769

end
