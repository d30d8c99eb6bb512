//! Console bytes in, complaints out.

use super::headline::headline;
use super::policy::{POLICY, message};
use super::{Splat, SplatKind};

/// Lines after which a report is cut off.
const LONGEST: usize = 500;
/// Lines of a report in which another header only says more about it: `refcount_t: …` and the `WARNING: …` under
/// it, `list_del corruption …` and the `kernel BUG at …` after it.
const OPENING: usize = 3;

/// How the kernel said that it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    /// The headline of the report that led to the panic; of the panic itself where there is none.
    pub headline: String,
    /// That report, up to the end of the console.
    pub text: String,
}

/// A report under way.
struct Block {
    kind: SplatKind,
    header: String,
    lines: Vec<String>,
    /// An oops or `BUG()`: we boot with `oops=panic`, so the panic is still to come.
    doomed: bool,
    panicked: bool,
}

/// Reads a console as it comes.
#[derive(Default)]
pub struct Watch {
    partial: Vec<u8>,
    open: Option<Block>,
    panic: Option<Panic>,
}

impl Watch {
    /// Takes the next bytes of the console; gives the complaints that ended in them.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Splat> {
        let mut ended = Vec::new();
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|&b| b == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            ended.extend(self.line(String::from_utf8_lossy(&line).trim_end()));
        }
        ended
    }

    /// Whether a complaint has begun whose end has not been seen.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The console has been silent for a while: whatever was under way has ended.
    pub fn quiet(&mut self) -> Option<Splat> {
        self.finish()
    }

    /// The console has ended, perhaps within a line.
    pub fn close(&mut self) -> Vec<Splat> {
        let mut ended = self.push(b"\n");
        ended.extend(self.finish());
        ended
    }

    /// The panic, if there was one.
    #[must_use]
    pub fn panic(&self) -> Option<&Panic> {
        self.panic.as_ref()
    }

    fn line(&mut self, line: &str) -> Option<Splat> {
        // what user space prints is no complaint of the kernel, and not part of one
        let message = message(line)?;
        let kind = POLICY.classify(message);
        let cut = message.starts_with("------------[ cut here ]");
        let mut ended = None;
        if let Some(block) = &mut self.open {
            if !block.takes(kind, cut) {
                ended = self.finish();
            } else {
                block.add(line, message, kind);
                if block.ends_with(message) {
                    ended = self.finish();
                }
                return ended;
            }
        }
        self.open = kind.map(|kind| Block::new(kind, line, message));
        ended
    }

    fn finish(&mut self) -> Option<Splat> {
        let block = self.open.take()?;
        let panicked = block.panicked;
        let splat = block.into_splat();
        if !panicked {
            return Some(splat);
        }
        match &mut self.panic {
            None => self.panic = Some(Panic { headline: splat.headline, text: splat.text }),
            // a panic within the panic explains nothing, but belongs to the text
            Some(first) => first.text.push_str(&splat.text),
        }
        None
    }
}

impl Block {
    fn new(kind: SplatKind, line: &str, message: &str) -> Block {
        let mut block = Block {
            kind,
            header: message.to_owned(),
            lines: Vec::new(),
            doomed: false,
            panicked: false,
        };
        block.add(line, message, Some(kind));
        block
    }

    /// Whether a line of that kind, or a "cut here", still belongs to this report.
    fn takes(&self, kind: Option<SplatKind>, cut: bool) -> bool {
        if self.panicked || kind == Some(SplatKind::Panic) {
            // of a report that does not kill, only its own panic is part
            return self.panicked || self.doomed || self.lines.len() < LONGEST && self.has_end();
        }
        if self.lines.len() >= LONGEST {
            return false;
        }
        match kind {
            // a stall goes on with what its own report finds out (print_other_cpu_stall() in kernel/rcu/tree_stall.h)
            Some(SplatKind::RcuStall) if self.kind == SplatKind::RcuStall => true,
            Some(_) => self.lines.len() <= OPENING || self.doomed || self.has_end(),
            None => !cut || self.lines.len() < OPENING,
        }
    }

    /// Whether the kernel marks where this kind of report ends.
    fn has_end(&self) -> bool {
        use SplatKind::{Bug, Kasan, Kcsan, Kfence, Kmsan, Oops, Refcount, Ubsan, Warning};
        matches!(
            self.kind,
            Bug | Kasan | Kcsan | Kfence | Kmsan | Oops | Refcount | Ubsan | Warning
        )
    }

    fn ends_with(&self, message: &str) -> bool {
        if self.doomed || self.panicked || self.lines.len() < 2 {
            return false;
        }
        match self.kind {
            SplatKind::Kasan | SplatKind::Kcsan | SplatKind::Kfence | SplatKind::Kmsan => {
                message.starts_with("==========")
            }
            _ => message.starts_with("---[ end trace"),
        }
    }

    fn add(&mut self, line: &str, message: &str, kind: Option<SplatKind>) {
        match kind {
            Some(SplatKind::Panic) => self.panicked = true,
            Some(SplatKind::Oops) => self.doomed = true,
            Some(SplatKind::Bug) if message.starts_with("kernel BUG at") => self.doomed = true,
            // WARNING is what everything can call itself: the other line says more
            Some(kind) if self.kind == SplatKind::Warning && kind != SplatKind::Warning => {
                self.kind = kind;
                message.clone_into(&mut self.header);
            }
            _ => {}
        }
        self.lines.push(line.to_owned());
    }

    fn into_splat(self) -> Splat {
        let messages: Vec<&str> = self.lines.iter().filter_map(|line| message(line)).collect();
        let headline = headline(self.kind, &self.header, &messages);
        let mut text = self.lines.join("\n");
        text.push('\n');
        Splat { kind: self.kind, headline, text }
    }
}
