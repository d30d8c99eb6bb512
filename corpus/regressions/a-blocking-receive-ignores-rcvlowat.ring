# A blocking receive waits for SO_RCVLOWAT bytes.
# The ring of the series knows no low-water mark.
ring 1
topology loopback
family v4
lane c client
lane s server

s: set rcvlowat 10 -> 0
c: send 1 dontwait -> 1
start s: recv 10 -> 10
c: send 9 dontwait -> 9

end
