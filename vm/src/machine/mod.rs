//! A guest, from power on to its end.
//!
//! ```text
//!   control  host → guest   ToGuest        ┐
//!   results  guest → host   FromGuest      ├ virtio-serial ports, a thread each on the host
//!   inputs   guest → host   FromGuest      │ of a fuzz target
//!   console  guest → host   kernel's words ┘ and a serial port, kept in a file and watched for splats
//!   monitor  QEMU → host    why the guest stopped, which the guest cannot make up
//! ```
//!
//! All of them are socket pairs or pipes that QEMU inherits: nothing is left in the file system, and when QEMU is gone, for
//! whatever reason, they end.

mod booting;
mod feed;
mod monitor;
mod process;
mod qemu;

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::accel::Accel;
use crate::splat::{Panic, Splat};
use crate::wire::{FromGuest, ToGuest};
pub use booting::BootError;

use booting::again_where_emulated;
use process::Process;
use qemu::GuestStreams;

/// The program that machines are made of.
pub(crate) const QEMU: &str = "qemu-system-x86_64";
/// A guest that does not take a message for so long does not read at all.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// Lines of the console that an error repeats.
const LAST_LINES: usize = 20;
/// A console that has been silent for so long has said what it had to say.
const SILENCE: Duration = Duration::from_millis(700);

/// What machine to boot.
#[derive(Clone, Debug)]
pub struct MachineSpec {
    /// A bzImage.
    pub kernel: PathBuf,
    /// The program `sparring-agent`.
    pub agent: PathBuf,
    /// What runs the instructions: see [`crate::accel::decide`].
    pub accel: Accel,
    /// Processors.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Directories that the guest may write to, at the same path. They must exist.
    pub writable: Vec<PathBuf>,
    /// Where the agent, and what it starts, is to be.
    pub cwd: PathBuf,
    /// The console is appended to this file as it comes.
    pub console_log: PathBuf,
    /// How long it may take until the agent says hello.
    pub boot_limit: Duration,
    /// Further words for the kernel's command line.
    pub append: Vec<String>,
}

/// What came from the guest, or became of it.
#[derive(Debug)]
pub enum Event {
    /// It said something.
    Message(FromGuest),
    /// Its kernel complained, and went on.
    Splat(Splat),
    /// It is no more. Nothing comes after it; asked again, the answer is the same.
    Ended(Ending),
    /// Nothing happened in time.
    Timeout,
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The kernel panicked: whatever the process then did.
    Panic(Panic),
    /// The kernel died of what QEMU's translator made of its code. Says nothing about the kernel.
    Emulated(Panic),
    /// The guest reset itself, as a kernel does that panics or faults thrice, without a word about it.
    Reset,
    /// The guest switched itself off.
    PoweredOff,
    /// The agent died, or could not start, and switched the guest off; with its words. Says nothing about the
    /// kernel.
    AgentDied(String),
    /// What came as a message was none; with the reason. The machine was killed.
    Garbled(String),
    /// Somebody, perhaps we, ended QEMU with this signal.
    Killed {
        /// As in `signal(7)`.
        signal: i32,
    },
    /// QEMU gave up.
    Exited {
        /// Its exit code.
        code: i32,
        /// What it said.
        stderr: String,
    },
}

impl Ending {
    /// How the kernel died, if that is what ended the machine.
    #[must_use]
    pub fn kernels(&self) -> Option<Panic> {
        match self {
            Ending::Panic(panic) => Some(panic.clone()),
            Ending::Reset => {
                Some(Panic { headline: "reset without a word".to_owned(), text: String::new() })
            }
            _ => None,
        }
    }
}

/// Completes "the guest ended: ".
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Panic(panic) => write!(f, "its kernel panicked: {}", panic.headline),
            Ending::Emulated(panic) => {
                write!(f, "QEMU's translator broke its kernel: {}", panic.headline)
            }
            Ending::Reset => f.write_str("it was reset"),
            Ending::PoweredOff => f.write_str("it switched itself off"),
            Ending::AgentDied(words) => write!(f, "its agent died: {words}"),
            Ending::Garbled(why) => write!(f, "its messages made no sense: {why}"),
            Ending::Killed { signal } => write!(f, "QEMU was killed by signal {signal}"),
            Ending::Exited { code, stderr } => {
                write!(f, "QEMU ended with code {code}: {}", stderr.trim())
            }
        }
    }
}

/// What a hang left behind.
#[derive(Debug)]
pub struct Hang {
    /// What the kernel said when it was asked what it is doing; empty if it did not answer at all.
    pub text: String,
    /// What had come before and was not yet fetched.
    pub rest: Vec<Event>,
}

/// A running guest. Dropped, it is killed.
pub struct Machine {
    process: Process,
    control: UnixStream,
    events: Receiver<Event>,
    early: VecDeque<Event>,
    ended: Option<Ending>,
    console_log: PathBuf,
    /// Where in the log this machine's console begins, in bytes.
    console_start: u64,
    hello: Hello,
}

/// The host's ends of a program's streams in the guest. Read them while it runs, and to their end after the machine
/// was switched off: nothing orders them with [`FromGuest::Exited`].
#[derive(Debug)]
pub struct Streams {
    /// Shut down for writing, it ends for the program behind what was written: QEMU reads the end of the stream. Dropped,
    /// it is hung up, which overtakes what QEMU has not read yet (`tcp_chr_hup()` in `chardev/char-socket.c`).
    pub stdin: UnixStream,
    /// What it prints.
    pub stdout: UnixStream,
    /// What it complains about.
    pub stderr: UnixStream,
}

/// What the agent said about its guest.
#[derive(Clone, Debug, Default)]
pub struct Hello {
    /// `uname -r`
    pub release: String,
    /// Processors online.
    pub cpus: u32,
    /// From the start of QEMU to the hello.
    pub took: Duration,
}

impl Machine {
    /// Boots a guest and waits until its agent has said hello. A boot that the emulator broke is repeated.
    ///
    /// # Errors
    /// When it does not; each way is a variant of [`BootError`].
    pub fn boot(spec: &MachineSpec) -> Result<Machine, BootError> {
        again_where_emulated(|| Machine::boot_on(spec, GuestStreams::None))
    }

    /// The same, for [`ToGuest::Exec`]: with the streams of a program. What it says on [`crate::wire::INPUTS_PORT`] are
    /// events like the agent's messages.
    ///
    /// # Errors
    /// As [`Machine::boot`].
    pub fn boot_with_streams(spec: &MachineSpec) -> Result<(Machine, Streams), BootError> {
        again_where_emulated(|| {
            let (stdin, stdin_guest) = UnixStream::pair()?;
            let (stdout, stdout_guest) = UnixStream::pair()?;
            let (stderr, stderr_guest) = UnixStream::pair()?;
            let guest = [stdin_guest, stdout_guest, stderr_guest];
            let machine = Machine::boot_on(spec, GuestStreams::Three(guest))?;
            Ok((machine, Streams { stdin, stdout, stderr }))
        })
    }

    /// The same, with the host's end of a program's terminal. Like [`Streams`] it is to be read to its end.
    ///
    /// # Errors
    /// As [`Machine::boot`].
    pub fn boot_with_terminal(spec: &MachineSpec) -> Result<(Machine, UnixStream), BootError> {
        again_where_emulated(|| {
            let (terminal, guest) = UnixStream::pair()?;
            let machine = Machine::boot_on(spec, GuestStreams::Terminal(guest))?;
            Ok((machine, terminal))
        })
    }

    fn boot_on(spec: &MachineSpec, streams: GuestStreams) -> Result<Machine, BootError> {
        let start = Instant::now();
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| BootError::File { path, source }
        };
        std::fs::File::open(&spec.kernel).map_err(at(&spec.kernel))?;
        for directory in &spec.writable {
            std::fs::read_dir(directory).map_err(at(directory))?;
        }
        let log = std::fs::File::options().create(true).append(true).open(&spec.console_log);
        let log = log.map_err(at(&spec.console_log))?;
        let console_start = log.metadata().map_err(at(&spec.console_log))?.len();
        let (process, control, events) = process::start(spec, log, streams)?;
        control.set_write_timeout(Some(SEND_LIMIT))?;
        let mut machine = Machine {
            process,
            control,
            events,
            early: VecDeque::new(),
            ended: None,
            console_log: spec.console_log.clone(),
            console_start,
            hello: Hello::default(),
        };
        // QEMU that has already died is reported by the wait, with its reason
        let _ = machine.send(&ToGuest::Share(qemu::shares(spec)));
        let (release, cpus) = machine.wait_for_hello(start + spec.boot_limit, spec.boot_limit)?;
        machine.hello = Hello { release, cpus, took: start.elapsed() };
        Ok(machine)
    }

    fn wait_for_hello(
        &mut self,
        end: Instant,
        limit: Duration,
    ) -> Result<(String, u32), BootError> {
        let mut early = VecDeque::new();
        loop {
            match self.next_event(end.saturating_duration_since(Instant::now())) {
                Event::Message(FromGuest::Hello { release, cpus }) => {
                    self.early = early;
                    return Ok((release, cpus));
                }
                Event::Message(FromGuest::Refused(refusal)) => {
                    return Err(BootError::Refused(refusal));
                }
                Event::Ended(ending) => return Err(self.boot_error(ending)),
                Event::Timeout if self.process.console_bytes() == 0 => {
                    return Err(BootError::Silent(limit));
                }
                Event::Timeout => {
                    return Err(BootError::NoHello { limit, console: self.last_lines() });
                }
                event => early.push_back(event),
            }
        }
    }

    fn boot_error(&self, ending: Ending) -> BootError {
        match ending {
            Ending::Panic(panic) => BootError::Panicked(panic),
            Ending::Emulated(panic) => BootError::Emulated(panic),
            Ending::AgentDied(words) => BootError::Agent(words),
            Ending::Exited { code: 127, .. } => BootError::NoQemu,
            Ending::Exited { code, stderr } => BootError::Start { code, stderr },
            ending => BootError::Ended { ending, console: self.last_lines() },
        }
    }

    /// What the agent said when it came up.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The process id of QEMU; `None` once it has ended.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// The console of this machine so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn console(&self) -> io::Result<String> {
        feed::read_from(&self.console_log, self.console_start)
    }

    /// Whether the kernel has begun a complaint that has not ended: its [`Event::Splat`] is still to come.
    #[must_use]
    pub fn complains(&self) -> bool {
        self.process.complains()
    }

    fn last_lines(&self) -> String {
        let text = self.console().unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    /// Sends a message.
    ///
    /// # Errors
    /// `BrokenPipe` when the machine has ended, which [`Machine::next_event`] tells more about; `WouldBlock` when
    /// the guest has not read for ten seconds, after which nothing can be sent any more.
    pub fn send(&mut self, message: &ToGuest) -> io::Result<()> {
        let frame = crate::wire::frame(message)?;
        (&self.control).write_all(&frame)
    }

    /// The next event, or [`Event::Timeout`].
    pub fn next_event(&mut self, timeout: Duration) -> Event {
        if let Some(event) = self.early.pop_front() {
            return event;
        }
        if let Some(ending) = &self.ended {
            return Event::Ended(ending.clone());
        }
        match self.events.recv_timeout(timeout) {
            Ok(Event::Ended(ending)) => {
                self.ended = Some(ending.clone());
                Event::Ended(ending)
            }
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => Event::Timeout,
            Err(RecvTimeoutError::Disconnected) => {
                let ending = Ending::Garbled("the machine's thread died".into());
                self.ended = Some(ending.clone());
                Event::Ended(ending)
            }
        }
    }

    /// Kills QEMU. What it still had to say, and the ending, come from [`Machine::next_event`].
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Asks the guest to switch itself off, kills it at the limit, and gives what came until the end; the last
    /// event is [`Event::Ended`].
    pub fn power_off(mut self, limit: Duration) -> Vec<Event> {
        let end = Instant::now() + limit;
        if self.send(&ToGuest::PowerOff).is_err() {
            self.kill();
        }
        let mut rest = Vec::new();
        loop {
            let event = self.next_event(end.saturating_duration_since(Instant::now()));
            match event {
                Event::Timeout => {
                    self.kill();
                    rest.extend(self.drain());
                    return rest;
                }
                Event::Ended(_) => {
                    rest.push(event);
                    return rest;
                }
                event => rest.push(event),
            }
        }
    }

    /// Documents a hang and kills the guest.
    ///
    /// The agent is asked to press SysRq `w` (blocked tasks), `l` (what each processor does) and `t` (all tasks).
    /// If no word comes, interrupts or user space are dead, too: a non-maskable interrupt makes the kernel panic,
    /// with the stack that it hangs in. `patience` is how long each of the two may take.
    pub fn dump_and_kill(mut self, patience: Duration) -> Hang {
        // what was said before the question does not belong to the answer
        let before = self.process.console_bytes();
        let asked = ['w', 'l', 't'].iter().all(|&key| self.send(&ToGuest::Sysrq(key)).is_ok());
        if !asked || !self.process.wait_for_silence(before, SILENCE, patience) {
            self.process.inject_nmi();
            self.process.wait_for_silence(before, SILENCE, patience);
        }
        self.kill();
        let rest = self.drain();
        let text =
            feed::read_from(&self.console_log, self.console_start + before).unwrap_or_default();
        Hang { text, rest }
    }

    /// Everything up to and with the end of a machine that was killed.
    fn drain(&mut self) -> Vec<Event> {
        let mut rest = Vec::new();
        loop {
            let event = self.next_event(Duration::MAX);
            let last = matches!(event, Event::Ended(_));
            rest.push(event);
            if last {
                return rest;
            }
        }
    }
}
