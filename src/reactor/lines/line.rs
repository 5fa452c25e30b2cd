//! One connection to an upstream.

use std::io;
use std::sync::Arc;

use crate::base::clock::Tick;
use crate::gateway::upstream::Endpoint;
use crate::reactor::floor::Edge;
use crate::reactor::readiness::Readiness;
use crate::reactor::stream::Stream;

/// See the module.
pub(in crate::reactor) struct Line<S: Stream> {
    /// There as soon as it was dialled.
    stream: Option<S>,
    pub readiness: Readiness,
    /// Its server. As long as a line knows it, no other gets its number, so that a line on the shelf of that
    /// number leads to it and nowhere else.
    endpoint: Arc<Endpoint>,
    /// Which reactor counts.
    reactor: u32,
    /// The client that uses it, by slot and generation.
    user: Option<(u32, u32)>,
    /// When an idle one is closed.
    pub expires: Tick,
    /// Whether the connection stands.
    is_standing: bool,
}

impl<S: Stream> Line<S> {
    pub(super) fn vacant(endpoint: Arc<Endpoint>, reactor: u32, user: (u32, u32)) -> Line<S> {
        endpoint.tallies.of(reactor).dialled.add(1);
        let mut readiness = Readiness::FRESH;
        // Nothing was heard of it yet: the first edge tells whether it stands.
        readiness.read_blocked();
        readiness.write_blocked();
        let user = Some(user);
        Line { stream: None, readiness, endpoint, reactor, user, expires: Tick(0), is_standing: false }
    }

    /// The number of its server.
    pub(super) fn endpoint(&self) -> u32 {
        self.endpoint.id
    }

    pub(super) fn connect(&mut self, stream: S) {
        self.stream = Some(stream);
    }

    pub(in crate::reactor) fn user(&self) -> Option<(u32, u32)> {
        self.user
    }

    pub(super) fn lend_to(&mut self, user: (u32, u32)) {
        debug_assert!(self.user.is_none(), "a line has one user");
        self.user = Some(user);
    }

    pub(super) fn rest(&mut self, expires: Tick) {
        self.user = None;
        self.expires = expires;
    }

    pub(super) fn note(&mut self, edge: Edge) {
        if edge.readable {
            self.readiness.note_readable();
        }
        if edge.writable {
            self.readiness.note_writable();
        }
        if edge.ending {
            self.readiness.note_ending();
        }
        if edge.broken {
            self.readiness.note_broken();
        }
    }

    /// Whether the connection stands; `None`: it is under way.
    ///
    /// # Errors
    /// Why it does not and never will.
    pub(in crate::reactor) fn stands(&mut self) -> io::Result<bool> {
        if self.is_standing {
            return Ok(true);
        }
        let was_told =
            self.readiness.is_writable() || self.readiness.is_ending() || self.readiness.is_broken();
        let Some(stream) = self.stream.as_ref().filter(|_| was_told) else { return Ok(false) };
        stream.outcome()?;
        self.is_standing = true;
        Ok(true)
    }

    /// Takes what has come; `Ok(None)`: nothing for now; `Ok(Some(0))`: the end.
    ///
    /// # Errors
    /// When the connection broke.
    pub(in crate::reactor) fn read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        if !self.readiness.is_readable() {
            return Ok(None);
        }
        let Some(stream) = &mut self.stream else { return Ok(None) };
        match again_if_interrupted(|| stream.read(into)) {
            Ok(0) => {
                self.readiness.read_end();
                Ok(Some(0))
            }
            Ok(count) => {
                if count < into.len() {
                    self.readiness.read_short();
                }
                Ok(Some(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readiness.read_blocked();
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends as much as there is room for.
    ///
    /// # Errors
    /// When the connection broke.
    pub(in crate::reactor) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.readiness.is_writable() {
            return Ok(0);
        }
        let Some(stream) = &mut self.stream else { return Ok(0) };
        match again_if_interrupted(|| stream.write(bytes, false)) {
            Ok(count) => {
                if count < bytes.len() {
                    self.readiness.write_blocked();
                }
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readiness.write_blocked();
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    /// Says that nothing more will be sent.
    pub(in crate::reactor) fn close_write(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.close_write();
        }
    }

    /// Whether it has something to be read, or its end.
    pub(in crate::reactor) fn has_news(&self) -> bool {
        self.readiness.is_readable()
    }

    /// Whether nothing speaks against using it again: no end was announced, and no bytes that may wait.
    pub(super) fn is_quiet(&self) -> bool {
        !(self.readiness.is_readable() || self.readiness.is_ending() || self.readiness.is_broken())
    }

    /// Whether its connection was heard to stand, or not to.
    #[cfg(test)]
    pub(in crate::reactor) fn is_heard_of(&self) -> bool {
        let readiness = self.readiness;
        !self.is_standing && (readiness.is_writable() || readiness.is_ending() || readiness.is_broken())
    }

    #[cfg(test)]
    pub(in crate::reactor) fn stream(&self) -> Option<&S> {
        self.stream.as_ref()
    }
}

impl<S: Stream> Drop for Line<S> {
    fn drop(&mut self) {
        self.endpoint.tallies.of(self.reactor).hung_up.add(1);
    }
}

/// A call that a signal cut short says nothing about the edge, which is not told again: whoever took that for
/// "nothing for now" would wait for ever.
fn again_if_interrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
