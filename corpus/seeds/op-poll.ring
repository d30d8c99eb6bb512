# What poll reports from the handshake to the end of both directions.
ring 1
topology loopback
family v4
lane c client
lane s server

c: poll -> out|wrnorm
s: poll -> out|wrnorm
c: shutdown wr -> 0
s: recv 1 -> 0
s: poll -> in|out|rdnorm|wrnorm|rdhup
s: shutdown wr -> 0
c: recv 1 -> 0
c: poll -> in|out|hup|rdnorm|wrnorm|rdhup

end
