# sendfile: the bytes of a file take their place between others.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 10 -> 10
c: send 5000 by file -> 5000
c: send 10 -> 10
s: recv 5020 waitall -> 5020

end
