//! GUEST: scenario → history.
//!
//! An [`Executor`] connects the endpoints of a scenario, issues its ops, ends it with the finale that
//! [`scenario::History`] describes, and writes down what each call returned. It never decides pass or fail.
//!
//! Where every op begins after the one before it has returned, the calling thread makes all calls. Else each lane has
//! a thread, and the calling thread releases them and watches what blocks.
//!
//! Reading order: [`Executor::execute`], `schedule` (which calls when), `hands` (one op), `finale`; around them
//! `stage` (the sockets, and what lanes share), `crew` (the lanes' threads), `backstage` (connections and the pairing
//! program), `connect`, `network`; below them `transfer` and `wait` (calls that move bytes or wait), `buffer` (the
//! memory that calls are given), `streams` (what it holds), `watchdog` (what ends a call that does not
//! return) and `sys` (the system calls). Beside them `kcov` and `points`: what of the kernel a scenario covers.
//!
//! A [`Bench`] does none of that: it measures how fast two connections are.

mod backstage;
mod bench;
mod buffer;
mod connect;
mod crew;
mod error;
mod executor;
mod finale;
mod hands;
mod kcov;
pub mod libfuzzer;
mod network;
mod points;
mod schedule;
mod stage;
mod streams;
mod sys;
#[cfg(test)]
mod testing;
mod transfer;
mod wait;
mod watchdog;

pub use bench::Bench;
pub use error::Error;
pub use executor::Executor;
pub use kcov::Hit;
pub use network::prepare_network;
pub use points::Points;
