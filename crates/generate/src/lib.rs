//! seed → scenario
