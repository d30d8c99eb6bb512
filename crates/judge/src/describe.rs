//! Evidence in words: calls and outcomes as a reviewer would write them.

use scenario::history::{Outcome, Record};
use scenario::{Buffer, By, Op, Ready, SockOption};

/// `recv(4096, dontwait|peek) on the server`
pub(crate) fn call(record: &Record) -> String {
    format!("{} on the {}", op(&record.op), record.endpoint)
}

fn op(op: &Op) -> String {
    match op {
        Op::Send { len, flags, buffer, by: By::Call } => {
            format!("send({len}{}{})", names(flags.iter_names()), memory(*buffer))
        }
        Op::Recv { len, flags, buffer, by: By::Call } => {
            format!("recv({len}{}{})", names(flags.iter_names()), memory(*buffer))
        }
        Op::Set(option) => format!("set {}", setting(*option)),
        Op::Poll => "poll".to_owned(),
        Op::Inq => "SIOCINQ".to_owned(),
        Op::Outq => "SIOCOUTQ".to_owned(),
        Op::SoError => "SO_ERROR".to_owned(),
        Op::Shutdown(how) => format!("shutdown({how})"),
        Op::Close => "close".to_owned(),
        Op::Abort => "abort".to_owned(),
        _ => op.to_string(),
    }
}

fn names<F>(flags: impl Iterator<Item = (&'static str, F)>) -> String {
    let list: Vec<_> = flags.map(|(name, _)| name.to_lowercase()).collect();
    if list.is_empty() { String::new() } else { format!(", {}", list.join("|")) }
}

fn memory(buffer: Buffer) -> String {
    match buffer {
        Buffer::Mapped => String::new(),
        Buffer::Unmapped => ", unmapped buffer".to_owned(),
        Buffer::Torn(mapped) => format!(", buffer unmapped after {mapped}"),
    }
}

fn setting(option: SockOption) -> String {
    match option {
        SockOption::Cork(on) => format!("TCP_CORK {on}"),
        SockOption::NoDelay(on) => format!("TCP_NODELAY {on}"),
        SockOption::NonBlock(on) => format!("O_NONBLOCK {on}"),
        SockOption::RcvBuf(bytes) => format!("SO_RCVBUF {bytes}"),
        SockOption::SndBuf(bytes) => format!("SO_SNDBUF {bytes}"),
        SockOption::RcvLowat(bytes) => format!("SO_RCVLOWAT {bytes}"),
        _ => Op::Set(option).to_string(),
    }
}

/// `failed with EAGAIN`
pub(crate) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Value(value) => format!("returned {value}"),
        Outcome::Received { count, .. } => format!("returned {count}"),
        Outcome::Ready(bits) => format!("reported {}", ready(*bits)),
        Outcome::Errno(errno) => format!("failed with {errno}"),
        Outcome::Stuck => "did not return".to_owned(),
        Outcome::Closed => "was not made".to_owned(),
    }
}

/// `IN|RDNORM`, or `nothing`
pub(crate) fn ready(bits: Ready) -> String {
    let list: Vec<_> = bits.iter_names().map(|(name, _)| name).collect();
    if list.is_empty() { "nothing".to_owned() } else { list.join("|") }
}
