# Plain TCP, once judged wrongly: io_uring tries again for the rest of a MSG_WAITALL (io_recv), and what is missing it takes
# from the buffer, which MSG_TRUNC leaves alone. The second try takes all of the small segments that Nagle's algorithm
# held back, more than were missing.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 16384 dontwait -> 16384
c: send 92 dontwait -> 92
c: send 94 dontwait -> 94
s: recv 16544 trunc waitall by uring

end
