# A send of no bytes reports the reset, too.
# The series returns 0.
ring 1
topology loopback
family v4
lane c client
lane s server

c: abort -> 0
s: poll -> in|out|err|hup|rdnorm|wrnorm|rdhup
s: send 0 dontwait -> econnreset

end
