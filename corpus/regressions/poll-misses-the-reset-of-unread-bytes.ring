# A close with an unread byte resets the connection, and poll shows it: ERR and HUP.
# The series leaves the byte in its ring and sends a FIN; the peer sees HUP without ERR.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 1 dontwait -> 1
s: close -> 0
c: poll -> in|out|err|hup|rdnorm|wrnorm|rdhup

end
