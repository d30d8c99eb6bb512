//! The user's terminal while a program in the guest has it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::termios::{self, OptionalActions, Termios};
use signal_hook::SigId;
use signal_hook::consts::SIGWINCH;
use vm::wire::Window;

use crate::exit::Failure;

/// A terminal in raw mode (`cfmakeraw(3)`): what is typed goes to the guest, Ctrl-C included. Dropped, it is as it was.
pub struct Terminal {
    tty: OwnedFd,
    before: Termios,
    resized: Arc<AtomicBool>,
    watch: SigId,
}

impl Terminal {
    /// Makes a terminal raw.
    ///
    /// # Errors
    /// [`Failure::Harness`] where it is none.
    pub fn enter(tty: impl AsFd) -> Result<Terminal, Failure> {
        Terminal::enter_inner(tty)
            .map_err(|e| Failure::Harness(format!("cannot make the terminal raw: {e}")))
    }

    fn enter_inner(tty: impl AsFd) -> io::Result<Terminal> {
        let tty = tty.as_fd().try_clone_to_owned()?;
        let before = termios::tcgetattr(&tty)?;
        let resized = Arc::new(AtomicBool::new(false));
        let watch = signal_hook::flag::register(SIGWINCH, Arc::clone(&resized))?;
        let mut raw = before.clone();
        raw.make_raw();
        let terminal = Terminal { tty, before, resized, watch };
        termios::tcsetattr(&terminal.tty, OptionalActions::Drain, &raw)?;
        Ok(terminal)
    }

    /// Its size; 0 where it has none.
    pub fn window(&self) -> Window {
        let (rows, columns) =
            termios::tcgetwinsize(&self.tty).map_or((0, 0), |size| (size.ws_row, size.ws_col));
        Window { rows, columns }
    }

    /// Its size, if that has changed since the last question.
    pub fn resized(&self) -> Option<Window> {
        self.resized.swap(false, Ordering::Relaxed).then(|| self.window())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        signal_hook::low_level::unregister(self.watch);
        // one that is gone needs nothing
        let _ = termios::tcsetattr(&self.tty, OptionalActions::Drain, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{LocalModes, Winsize};

    use super::*;

    /// A terminal, and the end of it that a person would sit at.
    fn pair() -> (File, OwnedFd) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let path = name.to_str().unwrap();
        (File::options().read(true).write(true).open(path).unwrap(), master)
    }

    fn echoes(tty: &File) -> bool {
        termios::tcgetattr(tty).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    #[test_log::test]
    fn a_terminal_is_raw_as_long_as_it_is_used() {
        let (tty, _person) = pair();
        let terminal = Terminal::enter(&tty).unwrap();
        assert!(!echoes(&tty));
        drop(terminal);
        assert!(echoes(&tty));
    }

    #[test_log::test]
    fn a_panic_leaves_the_terminal_as_it_was() {
        let (tty, _person) = pair();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _terminal = Terminal::enter(&tty).unwrap();
            panic!("somewhere");
        }));
        assert!(panicked.is_err() && echoes(&tty));
    }

    #[test_log::test]
    fn a_terminal_has_the_size_of_its_window() {
        let (tty, person) = pair();
        let size = Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
        termios::tcsetwinsize(&person, size).unwrap();
        let terminal = Terminal::enter(&tty).unwrap();
        assert_eq!(terminal.window(), Window { rows: 33, columns: 77 });
        assert_eq!(terminal.resized(), None);
        signal_hook::low_level::raise(SIGWINCH).unwrap();
        assert_eq!(terminal.resized(), Some(Window { rows: 33, columns: 77 }));
    }

    #[test_log::test]
    fn a_file_is_no_terminal() {
        let file = tempfile::tempfile().unwrap();
        let error = Terminal::enter(&file).err().unwrap();
        assert!(error.to_string().starts_with("cannot make the terminal raw: "), "{error}");
    }
}
