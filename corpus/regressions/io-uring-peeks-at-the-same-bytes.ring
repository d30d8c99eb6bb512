# Plain TCP, once judged wrongly: io_uring tries again for the rest of a MSG_WAITALL (io_recv). A peek then finds the same
# bytes, and they are counted as often, until more than were asked for.
ring 1
topology loopback
family v4
lane c client
lane s server

s: send 1911 dontwait -> 1911
start c: recv 32767 peek trunc waitall by uring
s: shutdown wr -> 0
c: recv 2000 -> 1911

end
