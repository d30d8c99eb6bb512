# A blocking receive into unmapped memory fails with EFAULT at once.
# In the series it does not return, and burns its processor.
ring 1
topology loopback
family v4
lane c client
lane s server

s: send 1 dontwait -> 1
c: recv 1 into unmapped -> efault

end
