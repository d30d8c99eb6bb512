//! What host and guest say to each other, and how a message becomes bytes.
//!
//! The host speaks on the *control* channel, the guest answers on the *results* channel; both are virtio-serial
//! ports of their own, apart from the console. A message is a little-endian `u32` length and that many bytes of
//! postcard.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use scenario::Scenario;
use scenario::bench::{Contenders, Load, Measurement, Trouble};
use scenario::history::{Bounds, History};
use scenario::payload::Key;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Name of the virtio-serial port that carries [`ToGuest`].
pub const CONTROL_PORT: &str = "sparring.control";
/// Name of the virtio-serial port that carries [`FromGuest`].
pub const RESULTS_PORT: &str = "sparring.results";
/// Name of the virtio-serial port on which a fuzz target says what it runs, as [`FromGuest`]; it is there for
/// [`ToGuest::Exec`] only.
pub const INPUTS_PORT: &str = "sparring.inputs";
/// Names of the virtio-serial ports that a program's streams go through, byte for byte.
pub const STDIN_PORT: &str = "sparring.stdin";
/// See [`STDIN_PORT`].
pub const STDOUT_PORT: &str = "sparring.stdout";
/// See [`STDIN_PORT`].
pub const STDERR_PORT: &str = "sparring.stderr";
/// Name of the virtio console that a program's terminal is.
pub const TERMINAL_PORT: &str = "sparring.terminal";
/// The exit code of a fuzz target that is not in a guest that was prepared for it.
pub const REFUSED: i32 = 69;
/// With this environment variable, fuzz targets of libfuzzer-sys show an input and execute nothing: `cargo fuzz fmt`.
pub const SHOW_ONLY: &str = "RUST_LIBFUZZER_DEBUG_PATH";
/// 9p mount tag of the host's root.
pub const ROOT_TAG: &str = "hostroot";
/// What the agent's own lines on the console begin with.
pub const AGENT_MARK: &str = "sparring-agent: ";
/// Longest message in bytes: a scenario or history of the largest size stays far below.
const LONGEST: usize = 64 << 20;

/// A kernel module to load before anything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// The `.ko` file, as the host sees it.
    pub path: PathBuf,
    /// Its parameters, as `insmod(8)` takes them.
    pub parameters: String,
}

/// Which sock_ops object the guest attaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pairing {
    /// None: plain TCP.
    None,
    /// Ours, which puts both endpoints into a SOCKHASH and leaves it at that.
    Sockhash,
    /// Ours, which pairs them.
    Ours,
    /// Somebody else's object file.
    Object(PathBuf),
}

/// How the guest is to be set up, once per boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Modules, in load order.
    pub modules: Vec<Module>,
    /// The sock_ops object.
    pub pairing: Pairing,
    /// Directory of the counters of a target that has some, one decimal number a file: `ring_bytes`, all that rings
    /// ever carried; `pairs` and `memory`, how many pairs there are now and how many bytes they hold.
    pub counters: Option<PathBuf>,
    /// The list of coverage points to trace, as `execute::Points::read` reads it.
    pub points: Option<PathBuf>,
    /// Key of the payload.
    pub key: Key,
    /// How long connecting two endpoints may take.
    pub connect_within: Duration,
}

/// What a fuzz target needs to run scenarios by itself. It reads them from the file that the environment variable
/// [`Errand::VARIABLE`] names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errand {
    /// How it sets the guest up.
    pub plan: Plan,
    /// Time limits of its scenarios.
    pub bounds: Bounds,
    /// Those of most scenarios once calls hang too often.
    pub hurried: Bounds,
    /// Scenarios that have ended a guest: it leaves them out.
    pub deadly: HashSet<Scenario>,
}

impl Errand {
    /// The environment variable with the file's path.
    pub const VARIABLE: &str = "SPARRING_ERRAND";
}

/// A host directory that the guest may write to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Its 9p mount tag.
    pub tag: String,
    /// Where it is, on the host and in the guest.
    pub path: PathBuf,
}

/// What the guest sees of the host besides its read-only root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    /// Writable directories, outer before inner.
    pub writable: Vec<Share>,
    /// Where the agent, and what it starts, is to be.
    pub cwd: PathBuf,
}

/// A program to run in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Itself and its arguments; looked up in `PATH` as the guest sees it.
    pub argv: Vec<OsString>,
    /// All of its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The size of its terminal ([`TERMINAL_PORT`]), where it gets one instead of plain streams.
    pub terminal: Option<Window>,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Its height.
    pub rows: u16,
    /// Its width.
    pub columns: u16,
}

/// How a program in the guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// From host to guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToGuest {
    /// Mount these; the host's first message, unasked. Answered by [`FromGuest::Hello`] or
    /// [`FromGuest::Refused`].
    Share(Shares),
    /// Set up; answered by [`FromGuest::Ready`] or [`FromGuest::Refused`].
    Setup(Plan),
    /// Run a scenario; answered by [`FromGuest::Done`] or [`FromGuest::Failed`], with any number of
    /// [`FromGuest::Busy`] before. Several may be under way: the guest takes them in order.
    Run {
        /// The host's number for it, returned with the answer.
        number: u64,
        /// The run, for [`scenario::payload::Stream`].
        run: u16,
        /// Its time limits.
        bounds: Bounds,
        /// What to run.
        scenario: Scenario,
    },
    /// Look for what the scenarios before it left behind; answered by [`FromGuest::Checkup`].
    Checkup(Depth),
    /// Connect two pairs of endpoints, the first one plain; after a set-up that attached nothing. Answered by
    /// [`FromGuest::Contenders`] or [`FromGuest::Refused`].
    Contenders {
        /// What is attached for the second one.
        pairing: Pairing,
        /// `SO_BUSY_POLL` of all endpoints, in microseconds.
        busy_poll_us: Option<u32>,
    },
    /// Measure one of them; answered by [`FromGuest::Measured`].
    Bench(Load),
    /// Run a program with the streams of [`STDIN_PORT`] and so on; answered by [`FromGuest::Exited`].
    Exec(Program),
    /// Press a magic SysRq key (Linux, `admin-guide/sysrq.rst`), at once and whatever else is under way.
    /// Not answered: what it does shows on the console.
    Sysrq(char),
    /// The terminal of the program that runs has another size, at once. Not answered.
    Resize(Window),
    /// Sync and power off.
    PowerOff,
}

/// How closely to look for what is left behind. Each includes the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Depth {
    /// At the target's counters, and closer only where more pairs are left than a few that are about to end.
    Glance,
    /// At the counters, with time for the last pairs to end.
    Counters,
    /// At what the kernel's allocators have given out.
    Stock,
    /// Through all of the memory, where the kernel can: this takes long.
    Memory,
}

/// Why the guest could not be set up as planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The kernel has no kfunc of the name that the object calls: kselftest's skip.
    NoKfunc(String),
    /// The kernel has no BTF, without which no kfunc can be called.
    NoBtf,
    /// The pairing object does not load or attach; with libbpf's and the verifier's words.
    BadObject(String),
    /// The module does not load; with the module and the error.
    BadModule(String),
    /// The guest lacks something else.
    Environment(String),
}

/// From guest to host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromGuest {
    /// The agent runs and sees the host's files; sent once.
    Hello {
        /// `uname -r`
        release: String,
        /// Processors online.
        cpus: u32,
    },
    /// Set up as planned.
    Ready,
    /// Not set up.
    Refused(Refusal),
    /// Calls of the scenario under way have returned since the last message: it is slow, and not hung.
    Busy,
    /// A fuzz target is about to run this scenario; [`FromGuest::Done`] or [`FromGuest::Failed`] follows.
    Began {
        /// The fuzz target's number for it.
        number: u64,
        /// What it runs.
        scenario: Scenario,
    },
    /// A scenario ran to its end.
    Done {
        /// The host's number for it.
        number: u64,
        /// What happened.
        history: History,
        /// What it covered.
        reached: Reached,
    },
    /// A scenario could not be run; says nothing about the kernel.
    Failed {
        /// The host's number for it.
        number: u64,
        /// The reason.
        reason: String,
    },
    /// What is left with every socket closed.
    Checkup(Checkup),
    /// Both are connected.
    Contenders(Contenders),
    /// A measurement came to its end, or to none.
    Measured(Result<Measurement, Trouble>),
    /// A program ended.
    Exited(Exit),
}

/// What a scenario covered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The points that no scenario before it reached on this machine: their line numbers in [`Plan::points`], from 0.
    pub points: Vec<u32>,
    /// Whether it reached so much that the last of it is not known.
    pub is_cut: bool,
}

/// What is left with every socket closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkup {
    /// Pairs and bytes held by them, by the target's own counters, after some time to settle; `None` where it has no
    /// counters, and where a glance saw nothing odd.
    pub pairs: Option<Pairs>,
    /// What the kernel holds; `None` where it was not asked for or does not tell.
    pub stock: Option<Stock>,
    /// What kmemleak suspects, in its words; empty where it suspects nothing, `None` where it was not asked or is
    /// not in the kernel.
    pub suspects: Option<String>,
    /// Why part of it could not be had.
    pub trouble: Option<String>,
}

/// Pairs that are alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pairs {
    /// How many.
    pub alive: u64,
    /// Bytes that they hold.
    pub memory: u64,
}

/// How much the kernel holds of what: objects, or bytes of [`Holding::PerCpu`] and [`Holding::Pages`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stock(pub BTreeMap<Holding, u64>);

/// What a kernel can hold on to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Holding {
    /// Objects of the slab cache of this name.
    Slab(String),
    /// Entries of our SOCKHASH.
    MapEntries,
    /// References on the module of this name.
    Module(String),
    /// Bytes of per-processor memory.
    PerCpu,
    /// Bytes of pages that are in no other account.
    Pages,
}

/// The bytes of one message.
///
/// # Errors
/// For a message of 4 GiB and more.
pub fn frame<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut frame = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
    let length = u32::try_from(frame.len() - 4).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// Writes one message and flushes.
///
/// # Errors
/// What the writer reports.
pub fn write<T: Serialize>(writer: &mut impl Write, message: &T) -> io::Result<()> {
    writer.write_all(&frame(message)?)?;
    writer.flush()
}

/// Reads one message; `None` at the end of the stream.
///
/// # Errors
/// What the reader reports; `InvalidData` for what is no message, `UnexpectedEof` for part of one.
pub fn read<T: DeserializeOwned>(reader: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let mut got = 0;
    while got < 4 {
        match reader.read(&mut length[got..]) {
            Ok(0) if got == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of absurd length"));
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes)?;
    postcard::from_bytes(&bytes)
        .map(Some)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> FromGuest {
        FromGuest::Hello { release: "7.2.12".into(), cpus: 2 }
    }

    #[test_log::test]
    fn messages_come_out_as_they_went_in() {
        let mut bytes = Vec::new();
        write(&mut bytes, &hello()).unwrap();
        write(&mut bytes, &FromGuest::Ready).unwrap();
        let mut reader = bytes.as_slice();
        assert_eq!(read(&mut reader).unwrap(), Some(hello()));
        assert_eq!(read(&mut reader).unwrap(), Some(FromGuest::Ready));
        assert_eq!(read::<FromGuest>(&mut reader).unwrap(), None);
    }

    #[test_log::test]
    fn a_cut_message_is_an_error_and_not_an_end() {
        let mut bytes = Vec::new();
        write(&mut bytes, &hello()).unwrap();
        for cut in 1..bytes.len() {
            assert!(read::<FromGuest>(&mut &bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}
