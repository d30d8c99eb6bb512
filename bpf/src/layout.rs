//! How the programs name an endpoint, what they are told and what they leave behind: the layout of `endpoint.h`, and of
//! `struct attempt` in `pair.bpf.c`.

use std::net::{IpAddr, SocketAddr};

/// `sizeof(struct endpoint)`
pub(crate) const KEY_BYTES: usize = 44;
/// `sizeof(struct result)`
pub(crate) const RESULT_BYTES: usize = 20;
/// `sizeof(struct attempt)`
pub(crate) const ATTEMPT_BYTES: usize = 4 + KEY_BYTES;

/// `AF_INET` and `AF_INET6` (`linux/socket.h`).
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// `RESULT_PAIRED`, `RESULT_BUSY_POLL` and `RESULT_FURTHER`.
const PAIRED: u32 = 1;
const BUSY_POLL: u32 = 2;
const FURTHER: u32 = 4;

/// `ATTEMPT_ONCE`, `ATTEMPT_TWICE`, `ATTEMPT_STRANGER` and `ATTEMPT_LEAVE`.
const ONCE: u32 = 0;
const TWICE: u32 = 1;
const STRANGER: u32 = 2;
const LEAVE: u32 = 3;

/// How a program pairs the connections that are made from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attempt {
    /// Each side with its peer.
    #[default]
    Once,
    /// Each side with its peer, and right after that once more.
    Twice,
    /// Each side first with an endpoint of another connection, then with its peer.
    Stranger {
        /// Where that endpoint is.
        local: SocketAddr,
        /// What it is connected to.
        remote: SocketAddr,
    },
    /// Not at all, but each side is in the SOCKHASH, where others find it.
    Leave,
}

/// What one endpoint's program did. Values are the kernel's: 0 or a negative error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What `bpf_sock_hash_update` returned.
    pub update: i32,
    /// What the kfunc returned; `None` where it was not called: the peer was not in the SOCKHASH yet, or the
    /// program does not pair.
    pub pair: Option<i32>,
    /// What `bpf_setsockopt(SO_BUSY_POLL)` returned; `None` where it was not asked for.
    pub busy_poll: Option<i32>,
    /// What the additional call of the kfunc returned, the one that [`Attempt::Twice`] or [`Attempt::Stranger`] asks
    /// for; `None` where there was none, for these or because that endpoint was not in the SOCKHASH.
    pub further: Option<i32>,
}

/// The map key of the endpoint at `local` that is connected to `remote`; `None` for two families.
pub(crate) fn key(local: SocketAddr, remote: SocketAddr) -> Option<[u8; KEY_BYTES]> {
    let mut bytes = [0; KEY_BYTES];
    let family = match (local, remote) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) => AF_INET,
        (SocketAddr::V6(_), SocketAddr::V6(_)) => AF_INET6,
        _ => return None,
    };
    bytes[..4].copy_from_slice(&family.to_ne_bytes());
    put_address(&mut bytes[4..20], local.ip());
    put_address(&mut bytes[20..36], remote.ip());
    bytes[36..40].copy_from_slice(&u32::from(local.port()).to_ne_bytes());
    bytes[40..].copy_from_slice(&u32::from(remote.port()).to_ne_bytes());
    Some(bytes)
}

fn put_address(bytes: &mut [u8], address: IpAddr) {
    match address {
        IpAddr::V4(v4) => bytes[..4].copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => bytes.copy_from_slice(&v6.octets()),
    }
}

/// The `struct attempt` that tells a program of this.
pub(crate) fn told(attempt: Attempt) -> [u8; ATTEMPT_BYTES] {
    let (kind, stranger) = match attempt {
        Attempt::Once => (ONCE, None),
        Attempt::Twice => (TWICE, None),
        Attempt::Stranger { local, remote } => (STRANGER, key(local, remote)),
        Attempt::Leave => (LEAVE, None),
    };
    let mut bytes = [0; ATTEMPT_BYTES];
    bytes[..4].copy_from_slice(&kind.to_ne_bytes());
    // nobody has the name that is all zero: there is no such family
    bytes[4..].copy_from_slice(&stranger.unwrap_or([0; KEY_BYTES]));
    bytes
}

/// Reads a `struct result`; `None` if it has another size.
pub(crate) fn answer(value: &[u8]) -> Option<Answer> {
    let value: &[u8; RESULT_BYTES] = value.try_into().ok()?;
    let word = |at: usize| [value[at], value[at + 1], value[at + 2], value[at + 3]];
    let called = u32::from_ne_bytes(word(0));
    let returned = |at| i32::from_ne_bytes(word(at));
    Some(Answer {
        update: returned(4),
        pair: (called & PAIRED != 0).then(|| returned(8)),
        busy_poll: (called & BUSY_POLL != 0).then(|| returned(12)),
        further: (called & FURTHER != 0).then(|| returned(16)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn addresses_are_in_network_and_ports_in_host_byte_order() {
        let key = key("127.0.0.1:258".parse().unwrap(), "10.0.0.2:3".parse().unwrap()).unwrap();
        assert_eq!(key[4..8], [127, 0, 0, 1]);
        assert_eq!(key[8..20], [0; 12]);
        assert_eq!(key[20..24], [10, 0, 0, 2]);
        assert_eq!(key[36..40], 258u32.to_ne_bytes());
        assert_eq!(key[40..44], 3u32.to_ne_bytes());
    }

    #[test_log::test]
    fn two_families_have_no_key() {
        assert_eq!(key("127.0.0.1:1".parse().unwrap(), "[::1]:1".parse().unwrap()), None);
    }

    #[test_log::test]
    fn what_was_not_called_has_no_result() {
        let mut value = [0; RESULT_BYTES];
        value[4..8].copy_from_slice(&(-12i32).to_ne_bytes());
        let silent = Answer { update: -12, pair: None, busy_poll: None, further: None };
        assert_eq!(answer(&value), Some(silent));
        value[..4].copy_from_slice(&PAIRED.to_ne_bytes());
        value[8..12].copy_from_slice(&(-17i32).to_ne_bytes());
        assert_eq!(answer(&value), Some(Answer { pair: Some(-17), ..silent }));
        value[..4].copy_from_slice(&FURTHER.to_ne_bytes());
        value[16..].copy_from_slice(&(-22i32).to_ne_bytes());
        assert_eq!(answer(&value), Some(Answer { further: Some(-22), ..silent }));
        assert_eq!(answer(&value[1..]), None);
    }

    #[test_log::test]
    fn a_stranger_is_told_by_name() {
        let (local, remote) = ("[::1]:1".parse().unwrap(), "[::2]:2".parse().unwrap());
        let bytes = told(Attempt::Stranger { local, remote });
        assert_eq!(bytes[..4], STRANGER.to_ne_bytes());
        assert_eq!(bytes[4..], key(local, remote).unwrap());
        let remote = "127.0.0.1:1".parse().unwrap();
        assert_eq!(told(Attempt::Stranger { local, remote })[4..], [0; KEY_BYTES]);
        assert_eq!(told(Attempt::Twice)[..8], [TWICE.to_ne_bytes(), [0; 4]].concat());
        assert_eq!(told(Attempt::Leave)[..8], [LEAVE.to_ne_bytes(), [0; 4]].concat());
        assert_eq!(told(Attempt::Once), [0; ATTEMPT_BYTES], "what the map begins with");
    }
}
