//! One file per command.

pub mod fuzz;
pub mod kernel;
pub mod run;
pub mod test;
