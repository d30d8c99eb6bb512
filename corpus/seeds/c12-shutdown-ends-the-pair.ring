# After SHUT_WR the peer gets every earlier byte and then the end of the stream; the other direction
# goes on, whatever became of the pair.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 5000 -> 5000
c: shutdown wr -> 0
c: send 1 nosignal -> epipe
s: recv 5000 waitall -> 5000
s: recv 1 -> 0
s: send 20000 -> 20000
c: recv 20000 waitall -> 20000
s: shutdown wr -> 0
c: recv 1 -> 0

end
