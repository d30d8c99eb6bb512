# Close with nothing unread: the peer gets every byte, then the end of the stream.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 100 -> 100
c: close -> 0
s: recv 1000 waitall -> 100
s: recv 1 -> 0
s: close -> 0

end
