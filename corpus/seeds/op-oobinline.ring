# SO_OOBINLINE: the urgent byte stays in the stream, and a receive still stops before it.
ring 1
topology loopback
family v4
lane c client
lane s server

s: set oobinline on -> 0
c: send 3 oob -> 3
s: recv 10 -> 2
s: at-mark -> 1
s: recv 1 oob -> einval
s: recv 10 -> 1

end
