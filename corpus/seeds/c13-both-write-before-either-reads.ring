# Each side sends two rings' worth before anybody reads: nobody waits for the other.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 32768 -> 32768
s: send 32768 -> 32768
c: recv 32768 waitall -> 32768
s: recv 32768 waitall -> 32768

end
