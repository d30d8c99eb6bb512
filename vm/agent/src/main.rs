//! GUEST: PID 1, runs what the host sends

fn main() {}
