# Bytes that the cork holds back were sent before those that follow it.
ring 1
topology loopback
family v4
lane c client
lane s server

c: set cork on -> 0
c: send 100 -> 100
c: set cork off -> 0
c: send 200 -> 200
s: recv 300 waitall -> 300

end
