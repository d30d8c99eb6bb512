# The first send to a closed peer may still be taken: it is what the reset answers. Once the receive
# has told of the reset, every send fails.
ring 1
topology loopback
family v4
lane c client
lane s server

s: close -> 0
c: recv 1 -> 0
c: send 10 nosignal -> 10
c: send 10 nosignal
c: send 10 nosignal
c: poll
c: so-error

end
