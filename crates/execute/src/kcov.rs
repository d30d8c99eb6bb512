//! Which coverage points the threads of an executor pass: KCOV (Linux, `dev-tools/kcov.rst`).
//!
//! KCOV records for a thread, into memory that it shares with it. Every thread that makes calls has such memory; the
//! executor empties all of them before a scenario and reads all of them after it, when no other thread runs.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsRawFd as _;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Error;
use crate::points::Points;

const FILE: &str = "/sys/kernel/debug/kcov";
/// Words of a thread's memory, of which the first counts the others that are in use.
const WORDS: usize = 1 << 20;
const BYTES: usize = WORDS * size_of::<u64>();

/// `linux/kcov.h`
const KCOV_INIT_TRACE: libc::Ioctl = libc::_IOR::<libc::c_ulong>(b'c' as u32, 1);
const KCOV_ENABLE: libc::Ioctl = libc::_IO(b'c' as u32, 100);
const KCOV_DISABLE: libc::Ioctl = libc::_IO(b'c' as u32, 101);
const KCOV_TRACE_PC: libc::c_ulong = 0;

/// How often a point was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Its index, see [`Points`].
    pub point: u32,
    /// How often.
    pub times: u32,
}

/// The memory of one thread.
#[derive(Debug)]
struct Area {
    file: File,
    words: NonNull<AtomicU64>,
}

// SAFETY: the mapping is only used through &[AtomicU64], and the file through calls that any thread may make
unsafe impl Send for Area {}
// SAFETY: as above
unsafe impl Sync for Area {}

impl Area {
    fn new() -> Result<Area, Error> {
        let file = File::options().read(true).write(true).open(FILE).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound { Error::NoKcov } else { failed(error) }
        })?;
        // SAFETY: the argument is a number
        if unsafe { libc::ioctl(file.as_raw_fd(), KCOV_INIT_TRACE, WORDS) } != 0 {
            return Err(failed(io::Error::last_os_error()));
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let share = libc::MAP_SHARED;
        // SAFETY: a mapping at an address of the kernel's choice touches no existing one
        let start =
            unsafe { libc::mmap(ptr::null_mut(), BYTES, access, share, file.as_raw_fd(), 0) };
        match NonNull::new(start.cast()) {
            Some(words) if start != libc::MAP_FAILED => Ok(Area { file, words }),
            _ => Err(failed(io::Error::last_os_error())),
        }
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: so many words are mapped, page-aligned and zeroed, for as long as self lives; the kernel writes whole
        // words, like any other thread
        unsafe { slice::from_raw_parts(self.words.as_ptr(), WORDS) }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and no reference outlives self
        unsafe { libc::munmap(self.words.as_ptr().cast(), BYTES) };
    }
}

fn failed(error: io::Error) -> Error {
    Error::Resource("record coverage", error)
}

/// Has the calling thread recorded, until it is dropped.
#[derive(Debug)]
pub(crate) struct Recorder {
    area: Arc<Area>,
    /// A thread has one, and only it can give it up.
    _thread: PhantomData<*mut ()>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // SAFETY: no argument. It cannot fail for the thread that enabled it
        unsafe { libc::ioctl(self.area.file.as_raw_fd(), KCOV_DISABLE, 0) };
    }
}

/// The memory of all threads that are recorded, or were. A new thread takes what an ended one had: the kernel zeroes
/// every page of new memory (`vmalloc_user`), which takes longer than most scenarios.
#[derive(Debug, Default)]
pub(crate) struct Recording(Mutex<Vec<Arc<Area>>>);

impl Recording {
    /// Has the calling thread recorded, too.
    pub(crate) fn join(&self) -> Result<Recorder, Error> {
        let mut areas = self.areas();
        let area = if let Some(left) = areas.iter().find(|area| Arc::strong_count(area) == 1) {
            Arc::clone(left)
        } else {
            areas.push(Arc::new(Area::new()?));
            Arc::clone(&areas[areas.len() - 1])
        };
        // SAFETY: the argument is a number
        if unsafe { libc::ioctl(area.file.as_raw_fd(), KCOV_ENABLE, KCOV_TRACE_PC) } != 0 {
            return Err(failed(io::Error::last_os_error()));
        }
        Ok(Recorder { area, _thread: PhantomData })
    }

    fn areas(&self) -> MutexGuard<'_, Vec<Arc<Area>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was recorded.
    fn clear(&self) {
        for area in self.areas().iter() {
            area.words()[0].store(0, Ordering::Relaxed);
        }
    }

    /// Gives every address that was recorded; whether a thread's memory was too small for all of them.
    fn read(&self, mut each: impl FnMut(u64)) -> bool {
        let mut is_full = false;
        for area in self.areas().iter() {
            let (count, addresses) = area.words().split_at(1);
            let count = usize::try_from(count[0].load(Ordering::Acquire)).unwrap_or(usize::MAX);
            is_full |= count >= addresses.len();
            addresses.iter().take(count).for_each(|word| each(word.load(Ordering::Relaxed)));
        }
        is_full
    }
}

/// What a scenario covers, all threads together.
#[derive(Debug)]
pub(crate) struct Coverage {
    points: Arc<Points>,
    recording: Arc<Recording>,
    /// Of the executor's own thread.
    _recorder: Recorder,
    /// How often each point was passed.
    times: Vec<u32>,
    hits: Vec<Hit>,
    is_cut: bool,
}

impl Coverage {
    /// Records the calling thread, and others once they join.
    pub(crate) fn new(points: Arc<Points>) -> Result<Coverage, Error> {
        let recording = Arc::new(Recording::default());
        let recorder = recording.join()?;
        let times = vec![0; points.len()];
        let hits = Vec::new();
        Ok(Coverage { points, recording, _recorder: recorder, times, hits, is_cut: false })
    }

    pub(crate) fn recording(&self) -> Arc<Recording> {
        Arc::clone(&self.recording)
    }

    /// A scenario begins.
    pub(crate) fn begin(&mut self) {
        self.hits.clear();
        self.recording.clear();
    }

    /// It is over, and no other thread makes calls.
    pub(crate) fn end(&mut self) {
        let Coverage { points, times, hits, .. } = self;
        self.is_cut = self.recording.read(|address| {
            let Some(point) = points.index_of(address) else { return };
            let times = &mut times[point as usize];
            if *times == 0 {
                hits.push(Hit { point, times: 0 });
            }
            *times = times.saturating_add(1);
        });
        hits.sort_unstable_by_key(|hit| hit.point);
        for hit in hits {
            hit.times = std::mem::take(&mut times[hit.point as usize]);
        }
    }

    pub(crate) fn hits(&self) -> &[Hit] {
        &self.hits
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }
}
