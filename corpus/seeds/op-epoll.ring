# epoll: by level as long as bytes are there, by edge once for each time that some come, oneshot when armed.
ring 1
topology loopback
family v4
lane c client
lane s server

s: wait in 10 by epoll -> none
c: send 2 -> 2
s: wait in 500 by epoll -> in
s: wait in 500 by epoll -> in
s: wait in 500 by epoll-edge -> in
s: wait in 10 by epoll-edge -> none
c: send 2 -> 2
s: wait in 500 by epoll-edge -> in
s: wait in 500 by epoll-oneshot -> in
s: wait in 500 by epoll-oneshot -> in
s: recv 4 -> 4
s: wait in 10 by epoll-oneshot -> none

end
