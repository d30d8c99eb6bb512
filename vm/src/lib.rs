//! Between host and guest: kernels are built, machines booted, watched and talked to.

#![forbid(unsafe_code)]

pub mod kernel;
pub mod wire;
