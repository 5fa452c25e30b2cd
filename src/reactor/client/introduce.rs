//! A connection that a balancer opened begins with who its client is (the PROXY protocol).
//!
//! Promises: nothing is taken for HTTP before the header is whole and sound; one that is not ends the
//! connection without an answer, and so does one that is not there in the time that a head has.

use super::busy::{Busy, Share};
use super::transfer::Filled;
use super::{Client, Life};
use crate::observe::log::Level;
use crate::proto::proxy_line;
use crate::reactor::floor::upstream::tell_of_crowd;
use crate::reactor::stream::Stream;
use crate::reactor::turn::{CloseReason, Turn};

impl<S: Stream> Client<S> {
    /// It is to begin with who its client is.
    pub(in crate::reactor) fn await_introduction(&mut self) {
        self.life = Life::Unintroduced;
    }

    /// Reads who its client is. Whether that was said by now.
    #[cold]
    pub(super) fn introduce(
        &mut self,
        busy: &mut Busy,
        turn: &mut Turn<'_, S>,
        share: &mut Share,
    ) -> Result<bool, CloseReason> {
        loop {
            let problem = match proxy_line::read(busy.input.unread()) {
                Ok(Some((header, length))) => {
                    busy.input.consume(length);
                    self.life = Life::Open;
                    // A balancer that names nobody speaks for itself.
                    let source = header.source.map(|source| source.ip());
                    let client =
                        source.or_else(|| self.stream.peer_address()).map(|peer| peer.to_canonical());
                    return turn.peers.enter(turn.here.0, client).map(|()| true).map_err(|_| {
                        tell_of_crowd(client, turn.log);
                        CloseReason::Crowded
                    });
                }
                Ok(None) if !busy.input.is_full() => None,
                Ok(None) => Some("too_long"),
                Err(problem) => Some(problem.label()),
            };
            if let Some(label) = problem {
                let peer = self.stream.peer();
                let text = format_args!("{peer} does not begin with a PROXY header: {label}");
                turn.log.event(Level::Debug, "proxy_protocol", text);
                return Err(CloseReason::Unintroduced);
            }
            match self.fill(busy, turn, share)? {
                Filled::Bytes => {}
                Filled::Nothing => return Ok(false),
                Filled::End if busy.input.is_empty() => return Err(CloseReason::PeerClosed),
                Filled::End => return Err(CloseReason::PeerCut),
            }
        }
    }
}
