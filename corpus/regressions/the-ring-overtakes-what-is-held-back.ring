# Two senders, and a message that MSG_MORE holds back: the byte behind it comes last.
# In the series that byte arrives inside the message.
ring 1
topology loopback
family v4
lane c client
lane c2 client
lane s2 server

c: send 1 dontwait -> 1
c2: send 16384 more dontwait -> 16384
s2: recv 1 dontwait -> 1
c2: send 1 dontwait -> 1

end
