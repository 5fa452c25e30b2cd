//! One connection: what is still to be sent, what was asked and not answered, how far its answer was read.
//!
//! Every request of a run has the same bytes, so nothing is kept to be sent: only how much of them is owed.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};

use mio::net::TcpStream;

use crate::engine::faults::Fault;
use crate::wire::answer::Reader;
use crate::wire::target::Target;

/// One connection.
#[derive(Debug)]
pub struct Session {
    pub stream: TcpStream,
    pub stage: Stage,
    /// When what is under way was begun: connecting, or the oldest question that has no answer.
    pub since_ns: u64,
    /// Intended starts of what was asked and not answered, oldest first.
    pub asked: VecDeque<u64>,
    pub reader: Reader,
    /// Request bytes not sent yet.
    owed: u64,
    /// Waits in the list of those that have something to send.
    pub is_listed: bool,
    /// Waits in the list of those that were not read to the end.
    pub is_unread: bool,
    /// The other side has said that it will close.
    pub is_parting: bool,
    /// What a vain attempt to send has said; an answer may still lie there.
    pub broken: Option<Fault>,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Connecting,
    Open,
    /// Over; forgotten before the next turn.
    Ended,
}

impl Session {
    /// Begins with a stream on its way.
    pub fn new(stream: TcpStream, now_ns: u64) -> Session {
        Session {
            stream,
            stage: Stage::Connecting,
            since_ns: now_ns,
            asked: VecDeque::new(),
            reader: Reader::default(),
            owed: 0,
            is_listed: false,
            is_unread: false,
            is_parting: false,
            broken: None,
        }
    }

    /// Notes one more request to be sent.
    pub fn owe(&mut self, intended_ns: u64, now_ns: u64, request_bytes: u64) {
        if self.asked.is_empty() {
            self.since_ns = now_ns;
        }
        self.asked.push_back(intended_ns);
        self.owed += request_bytes;
    }

    /// Sends what is owed, as far as the kernel takes it.
    ///
    /// # Errors
    /// What `send` says, but for "try again".
    pub fn send(&mut self, target: &Target) -> io::Result<()> {
        while self.owed > 0 {
            let batch = target.owed(self.owed);
            match self.stream.write(batch) {
                Ok(sent) => self.owed -= sent as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads once; none when there is nothing.
    ///
    /// # Errors
    /// What `recv` says, but for "try again".
    pub fn receive(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.stream.read(into) {
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
