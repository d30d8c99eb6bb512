# Below SO_RCVLOWAT poll does not report IN.
# The ring of the series knows no low-water mark.
ring 1
topology loopback
family v4
set client rcvlowat 10
lane c client
lane s server

s: send 1 dontwait -> 1
c: poll -> out|wrnorm

end
