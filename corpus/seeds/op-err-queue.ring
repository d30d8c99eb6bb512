# MSG_ZEROCOPY: with SO_ZEROCOPY the kernel says through the error queue when it is done with the pages.
# Without the option the flag means nothing.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 100 zerocopy -> 100
c: err-queue -> 0
c: set zerocopy on -> 0
c: send 10000 zerocopy -> 10000
s: recv 10100 waitall -> 10100
c: wait err 100
c: err-queue
c: send 10 -> 10
s: recv 10 -> 10

end
