# Each connection asks to be paired with the first one's server, which is in the SOCKHASH and free, before it asks for its
# own peer. Only the two ends of one connection are a pair.
# The series pairs whatever is free: bytes of one connection come out of another.
ring 1
topology loopback
family v4
pairs 2
attempt free-stranger

end
