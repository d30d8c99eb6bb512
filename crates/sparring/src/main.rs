//! HOST: the command line

fn main() {}
