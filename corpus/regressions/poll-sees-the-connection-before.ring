# A socket that was connected anew has nothing to read yet.
# In the series poll sees what is in the ring of the connection before.
ring 1
topology loopback
family v4
lane c client
lane s server

s: send 1 dontwait -> 1
c: disconnect -> 0
c: connect -> 0
c: poll -> out|wrnorm

end
