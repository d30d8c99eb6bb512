# Plain TCP, once judged wrongly: a socket that is disconnected and connected again is the same open file, and O_NONBLOCK
# is a flag of that. We had switched it back to what the scenario begins with.
ring 1
topology loopback
family v4
lane c client
lane s server

c: set nonblock on -> 0
c: disconnect -> 0
c: connect -> 0
c: recv 64 -> eagain

end
