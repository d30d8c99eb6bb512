# Plain TCP, once judged wrongly: the server's urgent byte leaves the stream, and a receive of one byte returns the
# byte behind it. One time in 256 the two have the same value, so that the position is known only later.
ring 1
topology loopback
family v4
set client nonblock on
set server nonblock on
set server nodelay on
lane c client
lane s server

s: send 1
c: recv 16384
s: send 1
s: send 83
c: recv 16383
s: send 16385 oob
c: recv 16383 peek
c: recv 16384
c: recv 16383
c: recv 65535
s: inq
s: send 94
s: send 1
c: recv 95 oob
c: inq
c: recv 1 peek
c: recv 1
c: recv 95 peek
s: send 46
c: recv 140
c: close
s: inq
s: send 74
s: recv 16384
s: recv 65536
s: inq
s: recv 0
s: inq
s: send 1879
s: recv 0 peek
s: inq
s: inq
s: recv 0 peek
s: recv 0

end
