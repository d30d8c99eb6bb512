# SO_SNDTIMEO: a send to a peer that never reads gives up after it, with what it got rid of until then.
ring 1
topology loopback
family v4
set client sndbuf 16384
set server rcvbuf 16384
lane c client
lane s server

c: set sndtimeo 20 -> 0
c: send 1048576
c: send 1048576
s: recv 100 -> 100

end
