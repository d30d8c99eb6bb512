# A slow wire that loses packets: the stream does not show it.
ring 1
topology veth
wire delay 2000 loss 10
family v4
lane c client
lane s server

c: send 10000 -> 10000
s: recv 10000 waitall -> 10000
s: send 10 -> 10
c: recv 10 -> 10

end
