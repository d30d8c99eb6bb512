use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn connection() -> [Arc<TcpStream>; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    [Arc::new(client), Arc::new(server)]
}

fn job(mode: Mode, size: usize, messages: u64, phase: Phase) -> Job {
    Job { mode, size, until: Until::Messages(messages), phase }
}

#[test_log::test]
fn every_byte_is_counted_on_both_sides() {
    let connection = connection();
    for phase in [Phase::WarmUp, Phase::Measuring] {
        for size in [1, 2, 64, 251, 100_000] {
            let rr = job(Mode::Rr, size, 5, phase);
            let [client, server] = run(&connection, 1, rr, PATIENCE).unwrap();
            let bytes = 5 * size as u64;
            assert_eq!((client.messages, client.sent, client.received), (5, bytes, bytes));
            assert_eq!((server.messages, server.sent, server.received), (5, bytes, bytes));
            let stream = job(Mode::Stream, size, 300, phase);
            let [client, server] = run(&connection, 1, stream, PATIENCE).unwrap();
            assert_eq!((client.messages, client.sent), (300, 300 * size as u64));
            assert_eq!((server.sent, server.received), (0, 300 * size as u64));
        }
    }
}

#[test_log::test]
fn a_measurement_takes_its_time() {
    let time = Duration::from_millis(50);
    let job = Job { until: Until::Elapsed(time), ..job(Mode::Rr, 64, 1, Phase::Measuring) };
    let [client, _] = run(&connection(), 1, job, PATIENCE).unwrap();
    assert!(client.messages > 1);
    assert!(client.ended - client.begun >= time);
}

#[test_log::test]
fn plain_tcp_has_no_ring() {
    let connection = connection();
    let before = Counters::read(&connection).unwrap();
    let job = job(Mode::Rr, 1000, 10, Phase::Measuring);
    let tallies = run(&connection, 1, job, PATIENCE).unwrap();
    let after = Counters::read(&connection).unwrap();
    assert_eq!(before.ring(&after, tallies.map(|tally| tally.sent)), 0);
}

#[test_log::test]
fn what_tcp_does_not_know_of_took_the_ring_and_so_did_what_the_module_counted() {
    let counters = |tcp, ring| Counters { tcp, ring };
    let frozen = counters([7, 9], None);
    assert_eq!(frozen.ring(&counters([7, 9], None), [100, 200]), 300);
    assert_eq!(frozen.ring(&counters([57, 209], None), [100, 200]), 50);
    let honest = counters([7, 9], Some(1000));
    assert_eq!(honest.ring(&counters([107, 209], Some(1290)), [100, 200]), 290);
    // a module that is loaded but does not pair
    assert_eq!(honest.ring(&counters([7, 9], Some(1000)), [100, 200]), 300);
}

/// What comes of a peer that reads one message, sends `reply` of the length of one, and waits.
fn against(reply: &[u8], size: usize) -> Trouble {
    let [client, server] = connection();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut request = vec![0; size];
            (&*server).read_exact(&mut request).unwrap();
            (&*server).write_all(reply).unwrap();
            server.shutdown(Shutdown::Write).unwrap();
            let _ = (&*server).read(&mut request);
        });
        let job = job(Mode::Rr, size, 2, Phase::WarmUp);
        let trouble = exchange::play(&client, Role::Client, job).unwrap_err();
        client.shutdown(Shutdown::Both).unwrap();
        trouble
    })
}

#[test_log::test]
fn a_broken_connection_is_told_by_how_it_is_broken() {
    assert_eq!(against(&[0, 1, 3, 3], 4), Trouble::Corrupt { at: 2, expected: 2, got: 3 });
    assert_eq!(against(&[0, 1, 2, 255], 4), Trouble::Corrupt { at: 3, expected: 3, got: 255 });
    let skipped: Vec<u8> = [0, 1].into_iter().chain(12..22).collect();
    assert_eq!(against(&skipped, 12), Trouble::OutOfPlace { at: 2, expected: 2, got: 12 });
    assert_eq!(against(&[0, 1, 2], 4), Trouble::Ended { at: 0 });
    assert_eq!(against(&[0, 1, 2, 3], 4), Trouble::Ended { at: 4 });
}

#[test_log::test]
fn endpoints_that_do_not_finish_are_left_behind() {
    // a receiver that waits for a sender on another connection
    let ([client, _hold], [_other, server]) = (connection(), connection());
    let limit = Duration::from_millis(50);
    let job = job(Mode::Rr, 1, 1, Phase::Measuring);
    let trouble = run(&[client, server], 1, job, limit).unwrap_err();
    assert_eq!(trouble, Trouble::Stalled { limit_ms: 50, phase: Phase::Measuring });
}
