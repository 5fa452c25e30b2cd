//! What can go wrong with one request or one connection, by kind.

/// A kind of error. Counted by kind, since one number hides what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody listens, or the backlog answered with a reset.
    Refused,
    /// No connection within the timeout, or no way to the host.
    Unreachable,
    /// This machine has no port left for the source address.
    NoPort,
    /// This process has no descriptor left, or the kernel no memory.
    NoDescriptor,
    /// The connection was reset before the answer was complete.
    Reset,
    /// The server closed before the answer was complete.
    Closed,
    /// No complete answer within the timeout.
    Timeout,
    /// The answer breaks HTTP/1.1, or more came than was asked for.
    Malformed,
    /// Another status than expected.
    Status,
    /// Another length than expected.
    Length,
    /// Another body than expected.
    Body,
    /// Due, and never sent: every connection was busy until the end.
    Unsent,
    /// The server was asked to close behind its answer, and did not within the timeout.
    Unclosed,
}

impl Fault {
    /// Every kind, in the order they are told.
    pub const ALL: [Fault; 13] = [
        Fault::Refused,
        Fault::Unreachable,
        Fault::NoPort,
        Fault::NoDescriptor,
        Fault::Reset,
        Fault::Closed,
        Fault::Timeout,
        Fault::Malformed,
        Fault::Status,
        Fault::Length,
        Fault::Body,
        Fault::Unsent,
        Fault::Unclosed,
    ];

    /// The name in reports, JSON and expectations.
    pub fn label(self) -> &'static str {
        match self {
            Fault::Refused => "refused",
            Fault::Unreachable => "unreachable",
            Fault::NoPort => "no_port",
            Fault::NoDescriptor => "no_descriptor",
            Fault::Reset => "reset",
            Fault::Closed => "closed",
            Fault::Timeout => "timeout",
            Fault::Malformed => "malformed",
            Fault::Status => "status",
            Fault::Length => "length",
            Fault::Body => "body",
            Fault::Unsent => "unsent",
            Fault::Unclosed => "unclosed",
        }
    }

    /// The kind behind an error of the system.
    pub fn of(error: &std::io::Error) -> Fault {
        match error.raw_os_error() {
            Some(libc::ECONNREFUSED) => Fault::Refused,
            Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE) => Fault::NoPort,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Fault::NoDescriptor,
            Some(libc::ETIMEDOUT | libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EACCES | libc::EPERM) => {
                Fault::Unreachable
            }
            _ => Fault::Reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_place_and_a_name_of_its_own() {
        for (place, fault) in Fault::ALL.iter().enumerate() {
            assert_eq!(*fault as usize, place);
            assert_eq!(Fault::ALL.iter().filter(|other| other.label() == fault.label()).count(), 1);
        }
    }
}
