# SO_RCVLOWAT: below the mark the socket is not readable to poll, and a blocking receive waits for it.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 10 -> 10
s: recv 1 -> 1
s: set rcvlowat 100 -> 0
s: poll -> out|wrnorm
s: recv 5 peek -> 5
c: send 100 -> 100
s: recv 109 -> 109
s: set rcvlowat 1 -> 0

end
