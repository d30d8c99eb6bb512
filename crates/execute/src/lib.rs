//! GUEST: scenario → history.
//!
//! An [`Executor`] connects the two endpoints of a scenario, issues its ops one after the other on the calling
//! thread, ends it with the finale that [`scenario::History`] describes, and writes down what each call
//! returned. It never decides pass or fail.
//!
//! Reading order: [`Executor::execute`], `connect` (the pair and its options), `round` (one op), `finale`;
//! below them `buffer` (the memory that calls are given), `watchdog` (what ends a call that does not return) and
//! `sys` (the system calls).
//!
//! A [`Bench`] does none of that: it measures how fast two connections are.

mod bench;
mod buffer;
mod connect;
mod error;
mod executor;
mod finale;
mod network;
mod round;
mod sys;
mod watchdog;

pub use bench::Bench;
pub use error::Error;
pub use executor::Executor;
pub use network::prepare_network;
