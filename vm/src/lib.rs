//! Between host and guest: kernels are built, machines booted, watched and talked to.

#![forbid(unsafe_code)]

pub mod accel;
pub mod boot;
pub mod coverage;
pub mod kernel;
pub mod machine;
pub mod splat;
pub mod wire;
