//! What the host hears: answers, and while one takes long, that there is progress.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use vm::wire::{self, FromGuest};

/// How long the host may hear nothing while calls return.
const BEAT: Duration = Duration::from_secs(1);

/// A port that the host listens to, for several threads.
#[derive(Clone)]
pub struct Results(Arc<Mutex<Port>>);

struct Port {
    file: File,
    said: Instant,
}

impl Port {
    fn say(&mut self, message: &FromGuest) -> io::Result<()> {
        self.said = Instant::now();
        wire::write(&mut self.file, message)
    }
}

impl Results {
    /// Speaks on this port.
    pub fn new(file: File) -> Results {
        Results(Arc::new(Mutex::new(Port { file, said: Instant::now() })))
    }

    /// Says it at once, and not in batches: the next scenario may be the last.
    ///
    /// # Errors
    /// What writing to the port gives.
    pub fn say(&self, message: &FromGuest) -> io::Result<()> {
        self.lock().say(message)
    }

    /// Tells the host that the guest works, whenever calls have returned and nothing else was said for a while. This
    /// thread says nothing of its own accord: that it lives does not mean that the scenario gets anywhere.
    pub fn beat(&self, returned: Arc<AtomicU64>) {
        let results = self.clone();
        thread::spawn(move || {
            let mut before = returned.load(Ordering::Relaxed);
            loop {
                thread::sleep(BEAT);
                let now = returned.load(Ordering::Relaxed);
                let mut port = results.lock();
                if now != before
                    && port.said.elapsed() >= BEAT
                    && port.say(&FromGuest::Busy).is_err()
                {
                    // the host is gone, and the worker will notice
                    return;
                }
                before = now;
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Port> {
        // who panicked while speaking has ended the guest
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
