# Plain TCP, once judged wrongly: io_uring tries again for the rest of a MSG_WAITALL (io_recv), as often as
# APOLL_MAX_RETRY says. A peek then finds the one urgent byte again and again, 129 times as a rule.
ring 1
topology loopback
family v4
lane c client
lane s server

s: send 100 oob -> 100
c: recv 1000 peek waitall oob by uring
c: recv 1 oob -> 1
c: recv 1000 -> 99

end
