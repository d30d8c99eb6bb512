# A receive into unmapped memory fails with EFAULT as long as there are bytes, after a shutdown of both sides, too.
# The series returns the end of the stream.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 1 dontwait -> 1
s: shutdown rdwr -> 0
s: recv 1 dontwait into unmapped -> efault

end
