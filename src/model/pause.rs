//! What can be paused by itself.

/// What can be paused by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pausable {
    /// Its tasks are not started.
    Method,
    /// Its levels are not done.
    Timer,
    /// It adds no tasks.
    Schedule,
}

impl Pausable {
    /// Its word, which is the name of its table too.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Timer => "timer",
            Self::Schedule => "schedule",
        }
    }
}
