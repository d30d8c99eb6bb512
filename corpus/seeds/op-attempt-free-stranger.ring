# The first pair is in the SOCKHASH and free. The second asks for its server, which is none of its business: what two
# connections send arrives where it belongs.
ring 1
topology loopback
family v4
pairs 2
attempt free-stranger
lane c client
lane s server
lane d client 1
lane t server 1

c: send 10 -> 10
d: send 20 -> 20
s: recv 100 -> 10
t: recv 100 -> 20
s: send 30 -> 30
t: send 40 -> 40
c: recv 100 -> 30
d: recv 100 -> 40

end
