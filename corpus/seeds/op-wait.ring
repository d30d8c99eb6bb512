# poll and select wait for what is asked for, and give up in time.
ring 1
topology loopback
family v4
lane c client
lane s server

s: wait in 10 -> none
s: wait out 10 -> out
s: wait in 10 by select -> none
start s: wait in|rdhup 500 -> in
c: send 2 -> 2
s: wait in 500 by select -> in
s: recv 2 -> 2
c: shutdown wr -> 0
s: wait rdhup 500 -> rdhup
s: wait none 10 -> none

end
