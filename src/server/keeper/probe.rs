//! One probe: a connection of its own, one request, one answer, and nothing that blocks.
//!
//! ```text
//!   Connecting ---> Sending ---> Reading ---> good, or the failure
//! ```
//! The answer is read as strictly as those that clients get, up to its end: half an answer is none. When
//! time is up is for others to say.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, send,
    socket_with, sockopt,
};

use super::target::{ProbeFailure, Target};
use crate::base::buffer::ReadBuffer;
use crate::gateway::upstream::Place;
use crate::http::Method;
use crate::proto::h1::answer::{AnswerIndex, AnswerLimits, AnswerReader, AnswerStep, Fault};

/// See the module.
pub(super) struct Probe {
    socket: OwnedFd,
    stage: Stage,
    /// When time is up.
    pub(super) due_ms: u64,
}

enum Stage {
    Connecting,
    Sending { sent: usize },
    Reading(Box<Reading>),
}

struct Reading {
    reader: AnswerReader,
    input: ReadBuffer,
    body_bytes: u64,
}

/// Why there is no probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotBegun {
    /// The server is at fault.
    Failed(ProbeFailure),
    /// We are: it says nothing of the server.
    Short(Errno),
}

/// `None`: it goes on.
pub(super) type Outcome = Option<Result<(), ProbeFailure>>;

impl Probe {
    /// Begins to connect.
    pub(super) fn begin(place: &Place, due_ms: u64) -> Result<Probe, NotBegun> {
        let (socket, outcome) = match place {
            Place::Socket(address) => {
                let socket =
                    open(if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 })?;
                let outcome = connect(&socket, address);
                (socket, outcome)
            }
            Place::Unix(path) => {
                let socket = open(AddressFamily::UNIX)?;
                let outcome = SocketAddrUnix::new(path.as_path()).and_then(|path| connect(&socket, &path));
                (socket, outcome)
            }
        };
        let stage = match outcome {
            Ok(()) => Stage::Sending { sent: 0 },
            // A signal does not call the connecting off.
            Err(Errno::INPROGRESS | Errno::INTR) => Stage::Connecting,
            // A port may be found for IPv6 only where there is IPv6.
            Err(Errno::ADDRNOTAVAIL) if matches!(place, Place::Socket(address) if address.is_ipv6()) => {
                return Err(NotBegun::Failed(ProbeFailure::Unreachable));
            }
            Err(errno) if is_ours(errno) => return Err(NotBegun::Short(errno)),
            Err(errno) => return Err(NotBegun::Failed(no_connection(errno))),
        };
        Ok(Probe { socket, stage, due_ms })
    }

    /// Goes on as far as it can.
    pub(super) fn advance(&mut self, target: &Target, request: &[u8], index: &mut AnswerIndex) -> Outcome {
        loop {
            match &mut self.stage {
                Stage::Connecting => match sockopt::socket_error(&self.socket) {
                    Ok(Ok(())) => self.stage = Stage::Sending { sent: 0 },
                    Ok(Err(errno)) | Err(errno) => return Some(Err(no_connection(errno))),
                },
                Stage::Sending { sent } if *sent < request.len() => {
                    match send(&self.socket, &request[*sent..], SendFlags::NOSIGNAL) {
                        Ok(count) => *sent += count,
                        Err(Errno::AGAIN) => return None,
                        Err(Errno::INTR) => {}
                        // Who closes early may have answered all the same.
                        Err(Errno::PIPE) => *sent = request.len(),
                        Err(_) => return Some(Err(ProbeFailure::Cut)),
                    }
                }
                Stage::Sending { .. } => self.stage = Stage::Reading(Box::new(Reading::new())),
                Stage::Reading(reading) => return reading.read(&self.socket, target, index),
            }
        }
    }

    /// What it means that time is up.
    pub(super) fn expired(&self) -> ProbeFailure {
        match self.stage {
            Stage::Connecting => ProbeFailure::ConnectTimeout,
            Stage::Sending { .. } | Stage::Reading(_) => ProbeFailure::AnswerTimeout,
        }
    }

    /// What it waits for.
    pub(super) fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        let flags = match self.stage {
            Stage::Connecting | Stage::Sending { .. } => PollFlags::OUT,
            Stage::Reading(_) => PollFlags::IN,
        };
        (self.socket.as_fd(), flags)
    }
}

impl Reading {
    fn new() -> Reading {
        Reading {
            reader: AnswerReader::new(Method::Get, false),
            input: ReadBuffer::with_size(INPUT_BYTES),
            body_bytes: 0,
        }
    }

    fn read(&mut self, socket: &OwnedFd, target: &Target, index: &mut AnswerIndex) -> Outcome {
        for _ in 0..READS_MAX {
            match recv(socket, self.input.room(), RecvFlags::empty()) {
                Ok((_, 0)) => return Some(self.at_end(target, index)),
                Ok((_, count)) => self.input.received(count),
                Err(Errno::AGAIN) => return None,
                Err(Errno::INTR) => continue,
                Err(_) => return Some(Err(ProbeFailure::Cut)),
            }
            let outcome = self.understand(target, index);
            if outcome.is_some() {
                return outcome;
            }
        }
        None
    }

    fn at_end(&mut self, target: &Target, index: &mut AnswerIndex) -> Result<(), ProbeFailure> {
        self.reader.end().map_err(fault)?;
        self.understand(target, index).unwrap_or(Err(ProbeFailure::Cut))
    }

    fn understand(&mut self, target: &Target, index: &mut AnswerIndex) -> Outcome {
        let limits = AnswerLimits::default();
        loop {
            let used = match self.reader.receive(&mut self.input, index, &limits) {
                Ok(AnswerStep::Starved) => return None,
                Ok(AnswerStep::Whole) => return Some(Ok(())),
                Ok(AnswerStep::Head) if !target.is_good(index.status) => {
                    return Some(Err(ProbeFailure::Status(index.status)));
                }
                Ok(AnswerStep::Head | AnswerStep::Interim) => usize::from(index.head_len),
                // It was not asked for, so the reader does not let it pass.
                Ok(AnswerStep::Switched) => return Some(Err(ProbeFailure::Garbled(Fault::BadSwitch))),
                Ok(AnswerStep::Trailer(count)) => count,
                Ok(AnswerStep::Body(count)) => {
                    self.body_bytes += count as u64;
                    if self.body_bytes > BODY_BYTES_MAX {
                        return Some(Ok(()));
                    }
                    count
                }
                Err(broken) => return Some(Err(fault(broken))),
            };
            self.input.consume(used);
        }
    }
}

fn open(family: AddressFamily) -> Result<OwnedFd, NotBegun> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(family, SocketType::STREAM, flags, None).map_err(|errno| match errno {
        Errno::AFNOSUPPORT => NotBegun::Failed(ProbeFailure::Unreachable),
        _ => NotBegun::Short(errno),
    })
}

/// What is short here, and not there.
fn is_ours(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::ADDRNOTAVAIL)
}

fn no_connection(errno: Errno) -> ProbeFailure {
    match errno {
        Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN | Errno::HOSTDOWN => {
            ProbeFailure::Unreachable
        }
        // A packet filter of ours, or an address that is none.
        Errno::PERM | Errno::ACCESS | Errno::INVAL => ProbeFailure::Unreachable,
        Errno::TIMEDOUT => ProbeFailure::ConnectTimeout,
        // Of a unix socket also: its queue is full, or there is no such file.
        _ => ProbeFailure::Refused,
    }
}

fn fault(fault: Fault) -> ProbeFailure {
    match fault {
        Fault::NoAnswer | Fault::Cut => ProbeFailure::Cut,
        other => ProbeFailure::Garbled(other),
    }
}

/// Of each probe that has something to read; room for the longest head.
const INPUT_BYTES: u32 = 16 * 1024;
/// Reads of one probe in one turn.
const READS_MAX: u32 = 8;
/// Who has sent so much body with a good head is well.
const BODY_BYTES_MAX: u64 = 1 << 20;

const _: () = assert!(INPUT_BYTES as usize <= crate::http::HEAD_BYTES_MAX + 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_here_is_not_held_against_a_server() {
        let short = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::ADDRNOTAVAIL];
        assert!(short.into_iter().all(is_ours));
        let theirs = [Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::TIMEDOUT, Errno::NOENT, Errno::AGAIN];
        assert!(!theirs.into_iter().any(is_ours));
        assert_eq!(no_connection(Errno::HOSTUNREACH), ProbeFailure::Unreachable);
        assert_eq!(no_connection(Errno::TIMEDOUT), ProbeFailure::ConnectTimeout);
        assert_eq!(no_connection(Errno::CONNREFUSED), ProbeFailure::Refused);
    }
}
