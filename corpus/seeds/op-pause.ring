# Nothing happens in a pause: what was sent before is there after it.
ring 1
topology loopback
family v4
lane c client
lane s server

c: send 10 -> 10
s: pause 1000
s: recv 10 -> 10

end
