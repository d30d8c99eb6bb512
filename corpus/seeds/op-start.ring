# A receive that sleeps until something comes, and one that sleeps until the end.
ring 1
topology loopback
family v4
lane c client
lane s server

start s: recv 100 -> 10
c: send 10 -> 10
start s: recv 1 -> 0
c: shutdown wr -> 0

end
