use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use super::*;

const WIRES: [Wire; 3] = [
    Wire { delay_us: 0, loss_permille: 0 },
    Wire { delay_us: 2_000, loss_permille: 0 },
    Wire { delay_us: 100, loss_permille: 50 },
];

fn connect(places: &Places) -> [TcpStream; 2] {
    let listener = places.within(Endpoint::Server, || TcpListener::bind((places.server(), 0)));
    let listener = listener.unwrap().unwrap();
    let address = listener.local_addr().unwrap();
    let client = places.within(Endpoint::Client, || TcpStream::connect(address)).unwrap().unwrap();
    [client, listener.accept().unwrap().0]
}

/// Which network namespace the calling thread is in.
fn here() -> std::path::PathBuf {
    std::fs::read_link("/proc/thread-self/ns/net").unwrap()
}

#[test_log::test]
fn on_loopback_nobody_moves() {
    let places =
        Networks::default().place(Topology::Loopback, Wire::default(), Family::V4).unwrap();
    let home = here();
    assert_eq!(places.within(Endpoint::Server, here).unwrap(), home);
    connect(&places);
}

#[test_log::test]
#[ignore = "needs a guest: ./sparring test"]
fn tcp_works_on_every_wire() {
    prepare_network().unwrap();
    let mut networks = Networks::default();
    let home = here();
    for topology in [Topology::Veth, Topology::Bridge] {
        for wire in WIRES {
            for family in [Family::V4, Family::V6] {
                let begun = Instant::now();
                let places = networks.place(topology, wire, family).unwrap();
                println!("{topology} {wire:?} {family}: made in {:?}", begun.elapsed());
                let begun = Instant::now();
                let [mut client, mut server] = connect(&places);
                let elapsed = begun.elapsed();
                println!("{topology} {wire:?} {family}: connected in {elapsed:?}");
                // the handshake takes the wire three times, of which the server waits for all
                assert!(elapsed.as_micros() >= u128::from(3 * wire.delay_us));
                client.write_all(&[7; 100_000]).unwrap();
                drop(client);
                let mut bytes = Vec::new();
                server.read_to_end(&mut bytes).unwrap();
                assert_eq!(bytes, [7; 100_000]);
                assert_eq!(here(), home);
            }
        }
    }
}

#[test_log::test]
#[ignore = "needs a guest: ./sparring test"]
fn a_network_has_namespaces_and_addresses_of_its_own() {
    prepare_network().unwrap();
    let mut networks = Networks::default();
    let mut place = |topology| networks.place(topology, Wire::default(), Family::V4).unwrap();
    let (veth, bridge) = (place(Topology::Veth), place(Topology::Bridge));
    assert_eq!(place(Topology::Veth).server(), veth.server());
    assert_ne!(veth.server(), bridge.server());
    let mut all = vec![here()];
    for places in [&veth, &bridge] {
        for endpoint in Endpoint::BOTH {
            let (there, ports) = places
                .within(endpoint, || {
                    let ports = "/proc/sys/net/ipv4/ip_local_port_range";
                    (here(), std::fs::read_to_string(ports).unwrap())
                })
                .unwrap();
            assert!(!all.contains(&there));
            all.push(there);
            assert_eq!(ports, "1024\t65535\n");
        }
    }
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        veth.within(Endpoint::Client, || panic!("on purpose"))
    }));
    assert!(panicked.is_err());
    assert_eq!(here(), all[0]);
}
