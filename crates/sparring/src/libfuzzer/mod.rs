//! Fuzz targets in VMs: what libFuzzer's command line means here, and what becomes of the inputs.
//!
//! libFuzzer runs in the guest, and says what it executes before it does. Whatever ends the guest, the input is known
//! here; histories are judged here, too. So a violation is filed and ends nothing, and a dead kernel costs a boot.

mod artifact;
mod docket;
mod line;
mod seat;

pub use artifact::{digest, subject};
pub use docket::Docket;
pub use line::{Line, Work};
pub use seat::Seat;
