//! What comes out of a guest becomes events.

use std::fs::File;
use std::io::{self, BufReader, PipeReader, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

use super::Event;
use crate::splat::{Panic, Watch};
use crate::wire::{self, AGENT_MARK};

/// A complaint whose last line is that old, in milliseconds, has ended.
const QUIET: u16 = 500;

/// Reads messages until the guest is gone. Half a message at the end is what a guest leaves that dies while it
/// speaks.
///
/// # Errors
/// With the reason, if bytes came that are no message; nothing after them can be understood.
pub(super) fn messages(messages: impl Read, events: &Sender<Event>) -> Result<(), String> {
    let mut messages = BufReader::new(messages);
    loop {
        match wire::read(&mut messages) {
            Ok(Some(message)) => {
                // nobody listens any more: the guest is about to be killed
                let _ = events.send(Event::Message(message));
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(error.to_string());
            }
            Ok(None) | Err(_) => return Ok(()),
        }
    }
}

/// What the console said about the end.
#[derive(Default)]
pub(super) struct LastWords {
    pub(super) panic: Option<Panic>,
    /// The agent's, without its mark.
    pub(super) agent: String,
}

/// How far the console is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Bytes so far.
    pub(super) bytes: AtomicU64,
    /// A complaint has begun that has not ended.
    pub(super) complains: AtomicBool,
}

/// Keeps and watches the console until the guest is gone.
pub(super) fn console(
    mut console: PipeReader,
    mut log: File,
    progress: &Progress,
    events: &Sender<Event>,
) -> LastWords {
    let mut watch = Watch::default();
    let mut tail = AgentWords::default();
    let mut buffer = [0; 4096];
    let send = |splat| {
        let _ = events.send(Event::Splat(splat));
    };
    loop {
        if watch.is_open() && !readable(&console) {
            watch.quiet().into_iter().for_each(send);
            progress.complains.store(false, Ordering::Release);
            continue;
        }
        match console.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                if let Err(error) = log.write_all(&buffer[..n]) {
                    tracing::error!("the console log cannot be written: {error}");
                }
                tail.push(&buffer[..n]);
                watch.push(&buffer[..n]).into_iter().for_each(send);
                progress.complains.store(watch.is_open(), Ordering::Release);
                progress.bytes.fetch_add(n as u64, Ordering::Release);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    watch.close().into_iter().for_each(send);
    tail.push(b"\n");
    LastWords { panic: watch.panic().cloned(), agent: tail.words }
}

/// Waits for more; `false` if there was none in time.
fn readable(console: &PipeReader) -> bool {
    let mut fds = [PollFd::new(console.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut fds, QUIET) {
            Err(Errno::EINTR) => {}
            // an error shows itself in the read
            answer => return answer != Ok(0),
        }
    }
}

/// The agent's lines on the console.
#[derive(Default)]
struct AgentWords {
    partial: Vec<u8>,
    words: String,
}

impl AgentWords {
    fn push(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|&b| b == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if let Some(words) = line.trim_end().strip_prefix(AGENT_MARK) {
                if !self.words.is_empty() {
                    self.words.push('\n');
                }
                self.words.push_str(words);
            }
        }
    }
}

/// The text of a file from a position on.
pub(super) fn read_from(path: &Path, start: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FromGuest;
    use std::sync::mpsc;

    #[test_log::test]
    fn half_a_message_ends_the_channel_and_costs_only_itself() {
        let mut bytes = wire::frame(&FromGuest::Ready).unwrap();
        let half = wire::frame(&FromGuest::Failed { number: 7, reason: "x".into() }).unwrap();
        bytes.extend(&half[..half.len() - 1]);
        let (sender, receiver) = mpsc::channel();
        assert_eq!(messages(bytes.as_slice(), &sender), Ok(()));
        drop(sender);
        let events: Vec<Event> = receiver.iter().collect();
        assert!(matches!(events[..], [Event::Message(FromGuest::Ready)]), "{events:?}");
    }

    #[test_log::test]
    fn what_is_no_message_is_told() {
        let (sender, _receiver) = mpsc::channel();
        assert!(messages([0xff; 64].as_slice(), &sender).is_err());
    }

    #[test_log::test]
    fn a_console_is_kept_watched_and_understood() {
        let (host, mut guest) = io::pipe().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console.log");
        let (sender, receiver) = mpsc::channel();
        let text = "[    1.000000] WARNING: a.c:1 at f+0x1/0x2, CPU#0: x/1\n\
                    sparring-agent: no port\n\
                    [    1.000001] ---[ end trace 0000000000000000 ]---\n\
                    [    2.000000] Kernel panic - not syncing: x";
        guest.write_all(text.as_bytes()).unwrap();
        drop(guest);
        let progress = Progress::default();
        let words = console(host, File::create(&path).unwrap(), &progress, &sender);
        assert_eq!(progress.bytes.into_inner(), text.len() as u64);
        assert_eq!(words.agent, "no port");
        assert_eq!(words.panic.unwrap().headline, "Kernel panic - not syncing: x");
        let Event::Splat(splat) = receiver.try_recv().unwrap() else { panic!("no splat") };
        assert_eq!(splat.headline, "WARNING: a.c at f");
        assert_eq!(read_from(&path, 0).unwrap(), text);
    }
}
