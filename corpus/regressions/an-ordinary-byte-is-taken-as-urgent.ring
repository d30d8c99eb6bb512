# Without urgent data MSG_OOB fails with EINVAL, and takes nothing.
# The series hands out the ordinary byte, which is then missing from the stream.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 1 dontwait -> 1
s: recv 1 oob dontwait -> einval

end
