# A blocking MSG_WAITALL waits for all of its bytes.
# The series returns the first that came.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 1 dontwait -> 1
start s: recv 10 waitall -> 10
c: send 9 dontwait -> 9

end
