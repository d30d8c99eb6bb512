//! QEMU's own view of the guest, over QMP (QEMU, "QEMU QMP Reference Manual").

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

/// Enters command mode, without which there are no events.
pub(super) fn greet(mut monitor: &UnixStream) -> io::Result<()> {
    writeln!(monitor, r#"{{"execute":"qmp_capabilities"}}"#)
}

/// Raises a non-maskable interrupt.
pub(super) fn inject_nmi(mut monitor: &UnixStream) -> io::Result<()> {
    writeln!(monitor, r#"{{"execute":"inject-nmi"}}"#)
}

/// Reads until QEMU ends; the reason of the guest's shutdown (`ShutdownCause`), if there was one.
pub(super) fn watch(monitor: UnixStream) -> Option<String> {
    let mut reason = None;
    for line in BufReader::new(monitor).lines() {
        let Ok(line) = line else { break };
        let Ok(said) = serde_json::from_str::<Value>(&line) else { continue };
        if said["event"] == "SHUTDOWN" {
            reason = said["data"]["reason"].as_str().map(str::to_owned);
        } else if said["error"].is_object() {
            tracing::warn!("QEMU monitor: {}", said["error"]["desc"]);
        }
    }
    reason
}
