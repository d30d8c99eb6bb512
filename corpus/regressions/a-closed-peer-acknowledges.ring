# A closed peer acknowledges nothing: SIOCOUTQ counts the byte.
# In the series the byte is swallowed by the ring. Documented: SIOCOUTQ shows only TCP.
ring 1
topology loopback
family v4
lane c client
lane s server

s: close -> 0
c: send 1 dontwait -> 1
c: outq -> 1

end
