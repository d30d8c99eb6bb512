//! Checks of the repository, as code.

#![forbid(unsafe_code)]

mod kmod_style;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

/// Checks of the repository.
#[derive(Parser)]
enum Task {
    /// Check style, limits and layout
    Tidy,
}

fn main() -> ExitCode {
    let Task::Tidy = Task::parse();
    match tidy::run() {
        Ok(complaints) if complaints.is_empty() => ExitCode::SUCCESS,
        Ok(complaints) => {
            for complaint in &complaints {
                eprintln!("tidy: {complaint}");
            }
            eprintln!("tidy: {} complaints", complaints.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("tidy: {error:#}");
            ExitCode::from(69)
        }
    }
}
