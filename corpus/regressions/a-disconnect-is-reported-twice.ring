# The reset that a disconnect sends is reported once.
# In the series a receive returns it, and SO_ERROR returns it again.
ring 1
topology loopback
family v4
lane s server

s: disconnect -> 0

end
