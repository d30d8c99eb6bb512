//! The vocabulary that every other crate speaks.
//!
//! A [`Scenario`] is one complete runnable case. Running it gives a [`History`]; judging the two gives a
//! [`Verdict`]. This crate holds those three, the [`payload`] that makes every byte tell where it came
//! from, the [`limits`] that every scenario respects, the `.ring` [`text`], and what a [`bench`] measures.
//! It depends on no sibling crate.

#![forbid(unsafe_code)]

pub mod bench;
mod case;
pub mod history;
pub mod limits;
mod op;
pub mod payload;
pub mod text;
pub mod verdict;

pub use case::{
    Attempt, Endpoint, Expect, Family, Lane, Scenario, Setup, Step, Topology, When, Wire,
};
pub use history::History;
pub use op::{Buffer, By, How, Op, Ready, RecvFlags, SendFlags, SockOption, Waiter};
pub use verdict::{Invariant, Verdict, Violation};
