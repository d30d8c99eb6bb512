# Plain TCP, once judged wrongly: splice(2) does not get past the urgent byte (tcp_splice_read), so that it returns the
# reset although there are bytes behind it, which a receive is given.
ring 1
topology loopback
family v4
set client nonblock on
lane c client
lane s server

s: send 94 oob
s: send 819
c: recv 65536 -> 93
s: destroy
c: recv 818 by tee
c: recv 1000 peek

end
