//! What a [`Chooser`](super::Chooser) is asked and told.

use super::breaker::Trial;

/// What is asked of a [`Chooser`](super::Chooser).
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask<'a> {
    /// The hash of what the request is balanced by. `None`: it has nothing of the kind, and is balanced by
    /// turns.
    pub key: Option<u64>,
    /// Endpoints that this request was sent to before.
    pub tried: &'a [u32],
    /// Monotonic milliseconds.
    pub now_ms: u64,
}

/// Why nobody was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nobody {
    /// No server is there, or none may be asked.
    AllOut,
    /// Those that may be asked were tried before.
    AllTried,
    /// Those that may be asked have as many requests under way as they may have connections.
    AllFull,
}

/// How a request ended, as far as it says something about the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server answered.
    Success {
        /// From the request to the head of its answer.
        latency_us: u32,
    },
    /// The server is to blame.
    Failure(FailureKind),
    /// The client went: it says nothing.
    Abandoned,
}

/// What a server did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// It refused the connection, or could not be reached.
    Connect,
    /// The connection did not stand in time.
    ConnectTimeout,
    /// The answer did not begin in time.
    Silent,
    /// The answer was none, or broke off.
    Broken,
    /// It answered 502, 503 or 504.
    Status,
}

impl FailureKind {
    /// A short name for logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            FailureKind::Connect => "connect",
            FailureKind::ConnectTimeout => "connect_timeout",
            FailureKind::Silent => "silent",
            FailureKind::Broken => "broken",
            FailureKind::Status => "status",
        }
    }
}

impl Outcome {
    /// What it says of a server on trial.
    pub(super) fn as_trial(self) -> Trial {
        match self {
            Outcome::Success { .. } => Trial::Succeeded,
            Outcome::Failure(_) => Trial::Failed,
            Outcome::Abandoned => Trial::Abandoned,
        }
    }
}
