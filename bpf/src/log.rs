//! libbpf's log: goes to `tracing`, and into the error when an object fails.

use std::sync::{Mutex, MutexGuard, PoisonError};

use libbpf_rs::{PrintLevel, set_print};

/// Warnings since [`Capture::start`]. libbpf takes a bare function to print with, so there is one for the
/// whole process.
static WARNINGS: Mutex<String> = Mutex::new(String::new());
/// Held while an object is opened, loaded and attached, so that two of them do not share [`WARNINGS`].
static CAPTURING: Mutex<()> = Mutex::new(());

/// Collects what libbpf warns about while it lives.
pub(crate) struct Capture(MutexGuard<'static, ()>);

impl Capture {
    pub(crate) fn start() -> Capture {
        // what is guarded is a string: no panic can leave it half written
        let alone = CAPTURING.lock().unwrap_or_else(PoisonError::into_inner);
        warnings().clear();
        set_print(Some((PrintLevel::Debug, print)));
        Capture(alone)
    }

    /// All warnings so far; the verifier's log is among them.
    pub(crate) fn text(&self) -> String {
        let _alone = &self.0;
        warnings().trim_end().to_owned()
    }
}

fn warnings() -> MutexGuard<'static, String> {
    WARNINGS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn print(level: PrintLevel, text: String) {
    let line = text.trim_end();
    match level {
        PrintLevel::Debug => tracing::trace!(target: "libbpf", "{line}"),
        PrintLevel::Info => tracing::debug!(target: "libbpf", "{line}"),
        PrintLevel::Warn => {
            tracing::debug!(target: "libbpf", "{line}");
            warnings().push_str(&text);
        }
    }
}

/// The kfunc that the log says is missing: not in the kernel's or a module's BTF
/// (`bpf_object__resolve_ksym_func_btf_id`), declared weak and called nevertheless
/// (`fixup_log_missing_kfunc_call`), or not for this type of program (the verifier's `check_kfunc_call`).
pub(crate) fn missing_kfunc(log: &str) -> Option<String> {
    let quoted = |before: &str, after: &str| {
        let (_, rest) = log.split_once(before)?;
        let (name, rest) = rest.split_once('\'')?;
        rest.starts_with(after).then(|| name.to_owned())
    };
    quoted("extern (func ksym) '", ": not found in kernel")
        .or_else(|| quoted("kfunc '", " is referenced but wasn't resolved"))
        .or_else(|| {
            log.lines().find_map(|line| {
                let name = line.strip_prefix("calling kernel function ")?;
                name.strip_suffix(" is not allowed").map(str::to_owned)
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn a_missing_kfunc_is_named_however_it_is_missing() {
        let absent = "libbpf: extern (func ksym) 'bpf_a': not found in kernel or module BTFs\n";
        let weak = "0: (85) call unknown#0\nkfunc 'bpf_b' is referenced but wasn't resolved\n";
        let forbidden = "12: (85) call bpf_c#1\ncalling kernel function bpf_c is not allowed\n";
        assert_eq!(missing_kfunc(absent).as_deref(), Some("bpf_a"));
        assert_eq!(missing_kfunc(weak).as_deref(), Some("bpf_b"));
        assert_eq!(missing_kfunc(forbidden).as_deref(), Some("bpf_c"));
        assert_eq!(missing_kfunc("R1 type=scalar expected=ctx\n"), None);
    }
}
