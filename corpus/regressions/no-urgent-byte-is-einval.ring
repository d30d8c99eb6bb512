# Where nothing urgent was sent, MSG_OOB fails with EINVAL.
# With bytes in its ring the series returns EAGAIN.
ring 1
topology loopback
family v4
lane c client
lane s server

s: send 1 dontwait -> 1
c: recv 1 peek oob dontwait -> einval

end
