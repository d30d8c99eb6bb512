//! GUEST: what the agent has in common with programs that run scenarios by themselves.

#![forbid(unsafe_code)]

pub mod ports;
pub mod reach;
pub mod results;
pub mod target;
