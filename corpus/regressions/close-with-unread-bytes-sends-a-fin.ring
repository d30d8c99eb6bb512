# A close with an unread byte resets the connection (RFC 2525, section 2.17).
# The series looks into the receive queue only, and sends a FIN.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 1 dontwait -> 1
s: close -> 0

end
