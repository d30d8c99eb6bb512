//! Exit codes, and the errors that lead to them.

use std::process::ExitCode;

/// How a command ends when nothing went wrong with the harness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 0: everything asked for was done and nothing was violated.
    Pass,
    /// 1: the kernel is at fault.
    Violation,
    /// 4: the target cannot do what the command is about (kselftest's skip).
    Skip,
    /// 69: part of the answer is missing, so it is no pass.
    Unfinished,
}

impl Outcome {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Outcome::Pass => 0,
            Outcome::Violation => 1,
            Outcome::Skip => 4,
            Outcome::Unfinished => 69,
        }
    }
}

/// Why a command could not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// 1: the kernel died before it could be judged.
    #[error("violation: {0}")]
    Kernel(String),
    /// 2: something that the user gave cannot be used.
    #[error("{0}")]
    BadInput(String),
    /// 4: the target cannot do what the command is about.
    #[error("skip: {0}")]
    Skip(String),
    /// 69: the harness or its environment failed.
    #[error("{0}")]
    Harness(String),
}

impl Failure {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Kernel(_) => Outcome::Violation.code(),
            Failure::BadInput(_) => 2,
            Failure::Skip(_) => Outcome::Skip.code(),
            Failure::Harness(_) => Outcome::Unfinished.code(),
        }
    }
}

impl From<report::WriteError> for Failure {
    fn from(error: report::WriteError) -> Failure {
        Failure::Harness(error.to_string())
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> ExitCode {
        ExitCode::from(outcome.code())
    }
}

/// Prints the failure, if it is one, and gives the process its exit code.
pub fn finish(result: Result<ExitCode, Failure>) -> ExitCode {
    result.unwrap_or_else(|failure| {
        eprintln!("sparring: {failure}");
        ExitCode::from(failure.code())
    })
}
