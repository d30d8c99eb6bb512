# The receive buffer has no room for the memory that bytes of a zerocopy send take, and the window stays closed for
# ever, on plain TCP, too. With the sender closed nobody can tell what it still has: what is missing is no stall.
ring 1
topology loopback
family v4
set client zerocopy on
set server rcvbuf 1
lane c client
lane s server

c: send 65536 zerocopy dontwait
c: send 48 zerocopy dontwait
s: recv 95
c: close

end
