//! What a campaign leaves behind: one folder per finding, and `summary.json`; and what it covered.
//!
//! Files appear under their final name only when they are complete (written beside it and renamed), so that
//! whatever ends the harness leaves no half-written result.

#![forbid(unsafe_code)]

mod comparison;
mod coverage;
mod file;
mod finding;
mod markdown;
mod plain;
mod record;
mod summary;
mod timeline;

pub use comparison::{Comparison, Night, accumulated};
pub use coverage::{Count, Coverage, LineCoverage, ReachedBy, SourceCoverage, State};
pub use file::{WriteError, write};
pub use finding::{Artifacts, Finding, FindingKey, Reliability};
pub use markdown::{Context, markdown};
pub use plain::Plain;
pub use record::{
    ReadError, Record, Seen, UNFINISHED, read_campaign, read_kept, read_known, write_known,
};
pub use summary::Summary;
pub use timeline::timeline;
