//! Leaves out what is known of sockets that go back from a ring to TCP, or a campaign would find it over and over. The
//! list and its reasons are in ARCHITECTURE.md ("The reference leaves to TCP what it cannot do better").

use scenario::{Op, RecvFlags, Scenario, SendFlags, SockOption, Wire};

/// Spares a scenario that, and changes nothing else.
///
/// - With urgent data, and for `SO_RCVLOWAT`, `TCP_ULP` and `TCP_REPAIR`, the bytes of a ring go back into TCP
///   (`tcp_sendmsg_locked`), and on a slow wire they are in flight then: the wire becomes a fast one.
/// - After `TCP_ULP` or `TCP_REPAIR` the socket is one in a SOCKHASH, where a receive waits once (`tcp_bpf_recvmsg`).
pub(crate) fn spare(scenario: &mut Scenario) {
    let Scenario { wire, lanes, steps, .. } = scenario;
    let mut left = Vec::new();
    for step in steps {
        let Some(lane) = lanes.get(usize::from(step.lane)) else { continue };
        let end = (lane.pair, lane.endpoint);
        match &mut step.op {
            Op::Send { flags, .. } if flags.contains(SendFlags::OOB) => *wire = Wire::default(),
            Op::Set(SockOption::RcvLowat(2..)) => *wire = Wire::default(),
            Op::Tls | Op::Repair => {
                *wire = Wire::default();
                left.push(end);
            }
            // splice(2) has no such flag, and its receive no such habit (tcp_splice_read)
            Op::Recv { flags, by, .. } if left.contains(&end) && !by.is_piped() => {
                *flags |= RecvFlags::DONTWAIT;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use scenario::text::{parse, print};

    use super::*;

    fn spared(steps: &str) -> String {
        let head = "ring 1\ntopology loopback\nfamily v4\nlane c client\nlane s server\n\n";
        let mut scenario = parse(&format!("{head}{steps}\nend\n")).unwrap();
        spare(&mut scenario);
        let text = print(&scenario);
        text.strip_prefix(head).unwrap().strip_suffix("\nend\n").unwrap().to_owned()
    }

    #[test_log::test]
    fn a_slow_wire_is_not_for_bytes_that_go_back() {
        let wire_of = |steps: &str| {
            let head = "ring 1\ntopology veth\nwire delay 500\nfamily v4\nlane c client\n\n";
            let mut scenario = parse(&format!("{head}{steps}\nend\n")).unwrap();
            spare(&mut scenario);
            scenario.wire.delay_us
        };
        assert_eq!(wire_of("c: send 1 oob dontwait\n"), 0);
        assert_eq!(wire_of("c: set rcvlowat 10\n"), 0);
        assert_eq!(wire_of("c: tls\n"), 0);
        assert_eq!(wire_of("c: repair\n"), 0);
        assert_eq!(wire_of("c: send 1 dontwait\nc: set rcvlowat 1\n"), 500);
    }

    #[test_log::test]
    fn a_socket_that_left_its_pair_does_not_wait() {
        let steps = "s: recv 1\nc: tls\nc: recv 1\nc: recv 1 by splice\ns: recv 1\n";
        let wanted = "s: recv 1\nc: tls\nc: recv 1 dontwait\nc: recv 1 by splice\ns: recv 1\n";
        assert_eq!(spared(steps), wanted);
    }
}
