# At the end of the stream even MSG_WAITALL returns with what there is.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 100 -> 100
c: close -> 0
s: recv 1000 waitall -> 100
s: recv 1000 waitall -> 0

end
