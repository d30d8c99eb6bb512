# Three bytes, the last one urgent: a receive stops before it, MSG_OOB fetches it, once.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 3 oob -> 3
s: recv 10 -> 2
s: poll
s: recv 1 oob -> 1
s: recv 1 oob -> einval
c: recv 1 oob -> einval

end
