# poll(2) takes no lock, and a FIN counts as a byte before it is marked as the end (tcp_data_queue): while it arrives, plain
# TCP may report POLLIN without POLLRDHUP, with nothing to read. Seen on a wire with two processors, in
# one of 1,450 scenarios.
ring 1
topology veth
wire delay 500
family v4
set server nonblock on
lane c client
lane s server

c: close -> 0
s: poll
s: poll
s: poll

end
