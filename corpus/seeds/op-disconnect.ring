# connect with AF_UNSPEC: the connection ends with a reset, and the socket is as good as new.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 100 -> 100
c: disconnect
s: recv 100 dontwait
s: recv 1 dontwait
c: recv 1 dontwait
c: send 10 nosignal dontwait
s: close -> 0

end
