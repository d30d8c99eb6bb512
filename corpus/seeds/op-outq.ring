# SIOCOUTQ: what was sent and is not acknowledged. When an acknowledgement comes is TCP's business, so
# only the queue that was never used has a sure length.
ring 1
topology loopback
family v4
lane c client
lane s server

c: outq -> 0
c: send 1000 -> 1000
c: outq
s: recv 1000 waitall -> 1000
c: outq
s: outq -> 0

end
