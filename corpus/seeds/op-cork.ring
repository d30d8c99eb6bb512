# A corked socket may hold bytes back; taking the cork off lets them go.
ring 1
topology loopback
family v4
lane c client
lane s server

c: set cork on -> 0
c: send 10 -> 10
s: recv 10 dontwait
c: send 10 -> 10
c: set cork off -> 0
c: shutdown wr -> 0
s: recv 20 dontwait

end
