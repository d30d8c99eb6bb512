//! GUEST: what the fuzz targets have in common.
//!
//! An input of libFuzzer's is a scenario ([`Case`]). It is executed here ([`run`]), and judged on the host, which hears of
//! each before it begins and what came of it. Nothing here decides pass or fail, so that no violation ends the process: the
//! host files it, and libFuzzer goes on.

#![forbid(unsafe_code)]

mod case;
mod damper;
mod feedback;
mod focus;
mod hurry;
mod session;
mod situation;

pub use case::{Case, crossover, mutate};
pub use focus::Focus;
pub use session::{require_guest, run};
