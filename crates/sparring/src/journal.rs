//! Every scenario is on the host's disk before it runs.
//!
//! Each worker keeps two text files, `journal/vm<N>.ring` and the one before it (`.old`), and starts a new one
//! when the current has grown long enough. Whatever ends the campaign, the last scenarios can be read there.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use report::WriteError;
use scenario::text;

use crate::runner::Job;

/// Bytes after which a new file is started: some thousand scenarios.
const ROTATE: u64 = 1 << 20;

/// The written-ahead scenarios of one worker.
pub struct Journal {
    path: PathBuf,
    file: File,
    written: u64,
}

impl Journal {
    /// Starts the journal of worker `vm` below the campaign's directory.
    pub fn create(out: &Path, vm: usize) -> Result<Journal, WriteError> {
        let path = out.join("journal").join(format!("vm{vm}.ring"));
        let open = || {
            fs::create_dir_all(out.join("journal"))?;
            File::create(&path)
        };
        match open() {
            Ok(file) => Ok(Journal { path, file, written: 0 }),
            Err(source) => Err(WriteError { path, source }),
        }
    }

    /// Writes a scenario, under its number and seed, before it is run.
    pub fn record(&mut self, seed: u64, job: &Job) -> Result<(), WriteError> {
        let entry =
            format!("# seed {seed} scenario {}\n{}\n", job.number, text::print(&job.scenario));
        let mut append = || {
            if self.written > ROTATE {
                fs::rename(&self.path, self.path.with_extension("ring.old"))?;
                self.file = File::create(&self.path)?;
                self.written = 0;
            }
            self.file.write_all(entry.as_bytes())
        };
        append().map_err(|source| WriteError { path: self.path.clone(), source })?;
        self.written += entry.len() as u64;
        Ok(())
    }
}
