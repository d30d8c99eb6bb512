//! The process that a machine is, and the threads that listen to it.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::feed::{self, LastWords};
use super::{BootError, Ending, Event, MachineSpec, monitor, qemu};
use crate::accel::Accel;
use crate::splat::Panic;

/// Length of the console's pipe: the most that pipe(7) gives to everybody.
const CONSOLE_BYTES: i32 = 1 << 20;

/// What the machine's thread and its owner share.
#[derive(Default)]
struct Shared {
    /// Set as long as the process exists, so that no other process of the same number is ever killed.
    pid: Mutex<Option<Pid>>,
    console: feed::Progress,
}

impl Shared {
    fn kill(&self) {
        let pid = self.pid.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = *pid {
            // it may be dead, but not yet waited for
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// QEMU. Dropped, it is killed and waited for.
pub(super) struct Process {
    shared: Arc<Shared>,
    monitor: UnixStream,
    thread: Option<JoinHandle<()>>,
}

/// The host's ends.
struct Ends {
    results: UnixStream,
    inputs: UnixStream,
    console: PipeReader,
    monitor: UnixStream,
    log: File,
}

/// Starts QEMU; gives the process, the control channel and the events.
pub(super) fn start(
    spec: &MachineSpec,
    log: File,
    streams: qemu::GuestStreams,
) -> Result<(Process, UnixStream, Receiver<Event>), BootError> {
    let (control, control_guest) = UnixStream::pair()?;
    let (results, results_guest) = UnixStream::pair()?;
    let (inputs, inputs_guest) = UnixStream::pair()?;
    let (console, console_guest) = console_pipe()?;
    let (monitor, monitor_guest) = UnixStream::pair()?;
    let mut initramfs = tempfile::tempfile()?;
    crate::boot::initramfs(&spec.agent, io::BufWriter::new(&mut initramfs))?;
    let inherited = qemu::Inherited {
        initramfs,
        control: control_guest,
        results: results_guest,
        console: console_guest,
        monitor: monitor_guest,
        streams,
        inputs: inputs_guest,
    };
    let command = qemu::command(spec, inherited)?;
    monitor::greet(&monitor)?;
    let shared = Arc::new(Shared::default());
    let ends = Ends { results, inputs, console, monitor: monitor.try_clone()?, log };
    let accel = spec.accel;
    let (sender, events) = mpsc::channel();
    let (started, answer) = mpsc::channel();
    let thread = thread::Builder::new().name("machine".into()).spawn({
        let shared = shared.clone();
        move || live(command, ends, accel, &shared, &sender, &started)
    })?;
    let process = Process { shared, monitor, thread: Some(thread) };
    match answer.recv() {
        Ok(Ok(())) => Ok((process, control, events)),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Err(BootError::NoQemu),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(io::Error::other("the machine's thread died").into()),
    }
}

/// The console's channel. QEMU's serial port writes byte by byte and throws away what is not taken at once
/// (`serial_xmit()` in `hw/char/serial.c`). A socket is full after some three hundred such writes, of which each is a
/// buffer of its own; a pipe takes as many bytes as it is long.
fn console_pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    if let Err(error) = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(CONSOLE_BYTES)) {
        tracing::debug!("the console's pipe stays short: {error}");
    }
    Ok((reader, writer))
}

/// The life of a machine. One thread starts QEMU, waits for it and outlives it: `PR_SET_PDEATHSIG` (prctl(2))
/// kills it when the *thread* ends that started it.
fn live(
    mut command: Command,
    ends: Ends,
    accel: Accel,
    shared: &Shared,
    events: &Sender<Event>,
    started: &Sender<io::Result<()>>,
) {
    let mut child = match spawn(&mut command, shared) {
        Ok(child) => child,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    // with it our copies of QEMU's ends, so that ours end with QEMU
    drop(command);
    let _ = started.send(Ok(()));
    let Ends { results, inputs, console, monitor, log } = ends;
    let ending = thread::scope(|scope| {
        let [results, inputs] = [results, inputs].map(|messages| {
            scope.spawn(move || feed::messages(messages, events).inspect_err(|_| shared.kill()))
        });
        let console = scope.spawn(|| feed::console(console, log, &shared.console, events));
        let monitor = scope.spawn(|| monitor::watch(monitor));
        let (status, stderr) = wait(&mut child, shared);
        let garbled = [results, inputs].into_iter().find_map(|reader| {
            reader.join().unwrap_or_else(|_| Err("its reader died".into())).err()
        });
        let words = console.join().unwrap_or_default();
        let reason = monitor.join().ok().flatten();
        match ending(words, garbled, reason.as_deref(), status, stderr) {
            Ending::Panic(panic) if is_emulators(&panic, accel) => Ending::Emulated(panic),
            ending => ending,
        }
    });
    tracing::debug!(?ending, "machine");
    let _ = events.send(Event::Ended(ending));
}

fn spawn(command: &mut Command, shared: &Shared) -> io::Result<Child> {
    let child = command.spawn()?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    *shared.pid.lock().unwrap_or_else(PoisonError::into_inner) = Some(Pid::from_raw(pid));
    Ok(child)
}

/// Waits for the end, with the process's number kept until nobody can use it any more.
fn wait(child: &mut Child, shared: &Shared) -> (io::Result<ExitStatus>, String) {
    let mut stderr = Vec::new();
    if let Some(mut pipe) = child.stderr.take() {
        let _ = pipe.read_to_end(&mut stderr);
    }
    let pid = *shared.pid.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pid) = pid {
        let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    }
    *shared.pid.lock().unwrap_or_else(PoisonError::into_inner) = None;
    (child.wait(), String::from_utf8_lossy(&stderr).into_owned())
}

/// Which ending it was. The guest's own words about its panic count most, then QEMU's about the guest, then the
/// process's status.
fn ending(
    words: LastWords,
    garbled: Option<String>,
    reason: Option<&str>,
    status: io::Result<ExitStatus>,
    stderr: String,
) -> Ending {
    if let Some(panic) = words.panic {
        // PID 1 that exits takes the kernel down with it (do_exit() in kernel/exit.c); its own words tell that it did
        let by_init = panic.headline.contains("Attempted to kill init");
        if by_init && !words.agent.is_empty() {
            return Ending::AgentDied(words.agent);
        }
        return Ending::Panic(panic);
    }
    if let Some(reason) = garbled {
        return Ending::Garbled(reason);
    }
    match reason {
        Some("guest-reset" | "guest-panic") => return Ending::Reset,
        Some("guest-shutdown") if !words.agent.is_empty() => return Ending::AgentDied(words.agent),
        Some("guest-shutdown") => return Ending::PoweredOff,
        Some("host-signal") => return Ending::Killed { signal: Signal::SIGTERM as i32 },
        _ => {}
    }
    match status {
        Ok(status) => match status.signal() {
            Some(signal) => Ending::Killed { signal },
            None => Ending::Exited { code: status.code().unwrap_or(-1), stderr },
        },
        Err(error) => Ending::Exited { code: -1, stderr: format!("{stderr}{error}") },
    }
}

/// Whether the emulator, not the kernel, is to blame.
///
/// The kernel patches its code while other processors run it: a breakpoint first, the rest behind it, then the first
/// byte (`smp_text_poke_batch_finish()`, `arch/x86/kernel/alternative.c`). QEMU before 8.1 translates code without
/// holding its page, so that a processor may run the breakpoint out of its translation after it was removed; nobody
/// knows it any more by then, and `exc_int3()` dies. Our kernels have no static keys for that reason (`base.config`);
/// a distribution's have, and flip most of them while booting.
fn is_emulators(panic: &Panic, accel: Accel) -> bool {
    accel == Accel::Tcg && panic.headline.starts_with("Oops: int3")
}

impl Process {
    pub(super) fn pid(&self) -> Option<u32> {
        let pid = self.shared.pid.lock().unwrap_or_else(PoisonError::into_inner);
        pid.and_then(|pid| u32::try_from(pid.as_raw()).ok())
    }

    pub(super) fn kill(&self) {
        self.shared.kill();
    }

    /// Bytes that the console has said.
    pub(super) fn console_bytes(&self) -> u64 {
        self.shared.console.bytes.load(Ordering::Acquire)
    }

    /// Whether a complaint has begun that has not ended.
    pub(super) fn complains(&self) -> bool {
        self.shared.console.complains.load(Ordering::Acquire)
    }

    pub(super) fn inject_nmi(&self) {
        if let Err(error) = monitor::inject_nmi(&self.monitor) {
            tracing::debug!("no NMI: {error}");
        }
    }

    /// Waits until the console has said more than `before` bytes and then nothing for `silence`; whether it said
    /// anything within `patience`.
    pub(super) fn wait_for_silence(
        &self,
        before: u64,
        silence: Duration,
        patience: Duration,
    ) -> bool {
        let end = Instant::now() + patience;
        let (mut seen, mut since) = (before, Instant::now());
        while Instant::now() < end && self.pid().is_some() {
            let now = self.console_bytes();
            if now != seen {
                (seen, since) = (now, Instant::now());
            } else if seen != before && since.elapsed() >= silence {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.console_bytes() != before
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: LastWords, reason: Option<&str>, status: i32) -> Ending {
        ending(words, None, reason, Ok(ExitStatus::from_raw(status)), String::new())
    }

    fn panic() -> Panic {
        Panic { headline: "x".into(), text: "x\n".into() }
    }

    #[test_log::test]
    fn endings_are_told_apart() {
        let silent = LastWords::default;
        assert_eq!(of(silent(), Some("guest-shutdown"), 0), Ending::PoweredOff);
        assert_eq!(of(silent(), Some("guest-reset"), 0), Ending::Reset);
        assert_eq!(of(silent(), None, 9), Ending::Killed { signal: 9 });
        assert_eq!(of(silent(), Some("host-signal"), 0), Ending::Killed { signal: 15 });
        let agent = LastWords { agent: "no port".into(), ..silent() };
        let died = Ending::AgentDied("no port".into());
        assert_eq!(of(agent, Some("guest-shutdown"), 0), died);
        let exited = Ending::Exited { code: 1, stderr: String::new() };
        assert_eq!(of(silent(), None, 1 << 8), exited);
    }

    #[test_log::test]
    fn a_breakpoint_under_the_translator_says_nothing_about_the_kernel() {
        let of = |headline: &str| Panic { headline: headline.into(), text: String::new() };
        let breakpoint = of("Oops: int3 in sched_clock_cpu");
        assert!(is_emulators(&breakpoint, Accel::Tcg));
        assert!(!is_emulators(&breakpoint, Accel::Kvm));
        assert!(!is_emulators(&of("BUG: kernel NULL pointer dereference in f"), Accel::Tcg));
    }

    #[test_log::test]
    fn a_panic_is_a_panic_however_the_process_ended() {
        for (reason, status) in [(Some("guest-reset"), 0), (None, 9), (Some("guest-shutdown"), 0)] {
            let words = LastWords { panic: Some(panic()), agent: "x".into() };
            assert_eq!(of(words, reason, status), Ending::Panic(panic()));
        }
    }
}
