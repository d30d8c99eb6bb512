# The two ends in two network namespaces.
ring 1
topology veth
family v4
lane c client
lane s server

c: send 1000 -> 1000
s: recv 1000 waitall -> 1000
s: send 1000 -> 1000
c: recv 1000 waitall -> 1000

end
