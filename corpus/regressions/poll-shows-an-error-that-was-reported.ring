# A receive that returned ECONNRESET has cleared the error: poll shows HUP without ERR.
# In the series ERR stays.
ring 1
topology loopback
family v4
lane c client
lane s server

s: abort -> 0
c: recv 1 dontwait -> econnreset
c: poll -> in|out|hup|rdnorm|wrnorm|rdhup

end
