# An endpoint is taken out of the SOCKHASH with bytes under way: the stream goes on, whichever way.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 100 -> 100
c: unhash
c: send 100 -> 100
s: recv 200 waitall -> 200
s: send 100 -> 100
s: unhash
s: send 100 -> 100
c: recv 200 waitall -> 200

end
