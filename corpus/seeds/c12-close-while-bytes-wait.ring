# Closed with bytes still to be read in both directions: the closing side's unread bytes turn the close
# into a reset.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 10 -> 10
s: recv 1 -> 1
s: close -> 0
c: recv 1 -> econnreset
c: recv 1 -> 0

end
