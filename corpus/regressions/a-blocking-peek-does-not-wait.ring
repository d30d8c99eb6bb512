# A blocking peek waits for a byte and sees it.
# In the series it fails with EAGAIN.
ring 1
topology loopback
family v4
lane c2 client
lane s server

start s: recv 1 peek -> 1
c2: send 1 dontwait -> 1

end
