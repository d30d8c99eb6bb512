# The reference, once judged wrongly: a receive that is under way keeps the socket open beyond its close, and gets a
# byte that is sent after it.
ring 1
topology loopback
family v4
lane c client
lane s server
lane t server

start s: recv 1 -> 1
t: close -> 0
c: send 1 dontwait -> 1

end
