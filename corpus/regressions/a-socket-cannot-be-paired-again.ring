# A socket that was disconnected and connected again is a fresh one, and may be paired.
# In the series it is still paired with the socket of its earlier connection: -EEXIST.
ring 1
topology loopback
family v4
lane c2 client

c2: disconnect -> 0
c2: connect -> 0

end
