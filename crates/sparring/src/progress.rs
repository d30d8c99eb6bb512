//! What a person sees while something takes long.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a line is written where there is no terminal to draw a bar on.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A bar on a terminal, a line now and then elsewhere.
pub struct Bar {
    bar: ProgressBar,
    last_line: Mutex<Option<Instant>>,
}

impl Bar {
    /// A bar with this template (see `indicatif::ProgressStyle`).
    ///
    /// # Panics
    /// If the template is malformed.
    pub fn new(template: &str) -> Bar {
        let bar = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::no_length();
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        } else {
            ProgressBar::hidden()
        };
        bar.set_style(ProgressStyle::with_template(template).expect("a template of ours"));
        Bar { bar, last_line: Mutex::new(None) }
    }

    /// Shows the position and a message.
    pub fn set(&self, position: u64, length: Option<u64>, message: &str) {
        if let Some(length) = length {
            self.bar.set_length(length);
        }
        self.bar.set_position(position);
        self.bar.set_message(message.to_owned());
        if self.bar.is_hidden() {
            let Ok(mut last) = self.last_line.lock() else {
                return;
            };
            if last.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
                *last = Some(Instant::now());
                eprintln!("{message}");
            }
        }
    }

    /// Writes a line that stays, above the bar.
    pub fn line(&self, line: &str) {
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Shows a kernel build.
pub struct BuildProgress {
    bar: Mutex<Option<Bar>>,
}

impl BuildProgress {
    /// Shows nothing until there is something to wait for.
    pub fn new() -> BuildProgress {
        BuildProgress { bar: Mutex::new(None) }
    }
}

impl vm::kernel::Progress for BuildProgress {
    fn stage(&self, name: &str) {
        if let Ok(mut bar) = self.bar.lock() {
            let bar = bar.get_or_insert_with(|| {
                Bar::new("{spinner} kernel: {wide_msg} {pos}/{len} {elapsed}")
            });
            bar.line(&format!("kernel: {name}"));
        }
    }

    fn step(&self, done: u64, total: Option<u64>, what: &str) {
        if let Ok(mut bar) = self.bar.lock() {
            let bar = bar.get_or_insert_with(|| {
                Bar::new("{spinner} kernel: {wide_msg} {pos}/{len} {elapsed}")
            });
            let message = match total {
                Some(total) => format!("{what} ({done} of about {total})"),
                None => what.to_owned(),
            };
            bar.set(done, total, &message);
        }
    }
}
