# The two ends in two network namespaces, with a bridge in between.
ring 1
topology bridge
family v6
lane c client
lane s server

c: send 1000 -> 1000
s: recv 1000 waitall -> 1000
s: shutdown wr -> 0
c: recv 1 -> 0

end
