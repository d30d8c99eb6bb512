# A pair that never carries a byte: all that pairing took must be given back.
# Closing the one end is seen as the end of the stream at the other.
ring 1
topology loopback
family v4
lane c client
lane s server

c: close -> 0
s: recv 1 -> 0
s: close -> 0

end
