//! GUEST: scenario → history
