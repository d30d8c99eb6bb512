# Plain TCP, once judged wrongly: behind the skipped urgent byte the executor looks in the wrong place, and one time in
# 256 a byte fits there by chance.
ring 1
topology loopback
family v4
set client nonblock on
set client nodelay on
lane c client
lane s server

s: send 0 dontwait
c: send 83
s: recv 82 waitall dontwait
s: send 16383 dontwait
c: send 16382 from torn 8191
c: send 76
s: recv 78 dontwait
s: send 1447 dontwait
c: recv 17830 waitall
c: send 729 oob
c: send 516
s: recv 1243 dontwait
c: recv 0 into unmapped
s: recv 58 oob dontwait
s: recv 0 waitall dontwait
s: recv 1 oob dontwait
s: recv 1 dontwait
c: abort
s: send 85 dontwait from torn 84
s: send 48 dontwait
s: recv 0 dontwait

end
