//! The `.ring` text: scenarios that a person reads, writes, diffs and mails.
