//! the oracle: scenario and history → verdict
