//! All that a connection may touch besides itself, and what comes of driving it.

use std::sync::Arc;

use crate::base::buffer::ReadBuffer;
use crate::base::clock::Clock;
use crate::base::pool::Pool;
use crate::config::Limits;
use crate::gateway::handler::files::Folders;
use crate::gateway::{Arrival, Notes};
use crate::http::HeadIndex;
use crate::observe::Tally;
use crate::observe::log::Log;
use crate::proto::h1::Stamp;
use crate::reactor::access::Access;
use crate::reactor::client::Busy;
use crate::reactor::dispatch::Dispatch;
use crate::reactor::epoch::Epoch;
use crate::reactor::lines::Lines;
use crate::reactor::peers::Peers;
use crate::reactor::stream::Stream;

/// Public fields, so that borrows stay apart.
pub(super) struct Turn<'a, S: Stream> {
    pub clock: &'a Clock,
    pub stamp: &'a mut Stamp,
    pub limits: &'a Limits,
    /// What requests that come now are answered by.
    pub epoch: &'a Arc<Epoch>,
    /// The directories that these serve from.
    pub folders: &'a Folders,
    /// When and from where the request at hand came.
    pub arrival: &'a mut Arrival,
    /// Connections to upstreams.
    pub lines: &'a mut Lines<S>,
    /// Who is at the other ends.
    pub peers: &'a mut Peers,
    pub pool: &'a mut Pool<Busy>,
    pub buffer_bytes: u32,
    pub index: &'a mut HeadIndex,
    /// What middleware notes of the request at hand.
    pub notes: &'a mut Notes,
    pub dispatch: &'a mut Dispatch,
    /// Slot and generation of the connection that is driven.
    pub here: (u32, u32),
    pub tally: &'a Tally,
    /// Where access lines go, if they go anywhere.
    pub access: Option<&'a mut Access>,
    pub log: &'a Log,
    /// Whether the server is on its way out: answers end their connections, idle ones are closed.
    pub draining: bool,
}

impl<S: Stream> Turn<'_, S> {
    /// A workplace for a connection that has something to do; `None` when all are lent.
    pub fn lend(&mut self, number: u32) -> Option<Box<Busy>> {
        let size = self.buffer_bytes;
        let mut busy = self.pool.lend(|| Busy::new(ReadBuffer::with_size(size)))?;
        busy.open(number);
        Some(busy)
    }
}

/// What comes of driving a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing to do before something happens; a reason to wake and a deadline are set.
    Park,
    /// Its share of this turn is used up, not its work.
    Again,
    /// It has bytes to read and no buffer to read them into.
    Thirsty,
    /// It is over.
    Close(CloseReason),
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CloseReason {
    /// Answered, and one side had asked for the end.
    Finished,
    /// The peer left between requests.
    PeerClosed,
    /// The peer left in the middle of a request.
    PeerCut,
    /// The peer, or the way to it, broke.
    PeerReset,
    /// A rule was broken; the answer said which.
    Refused,
    /// No request within the idle timeout.
    IdleTimeout,
    /// A head or body came too slowly.
    ReadTimeout,
    /// The answer was not taken at the least rate.
    WriteTimeout,
    /// The server is draining and the connection was idle.
    Drained,
    /// The drain's time was up.
    DrainCut,
    /// The body of an answer ended before it was complete: a file that shrank, a source that broke or was
    /// overdue.
    Truncated,
    /// The kernel had no memory to watch it with.
    Exhausted,
    /// It did not begin with what a balancer has to say of its client.
    Unintroduced,
    /// Its address has as many connections as it may.
    Crowded,
}

impl CloseReason {
    /// The labels, in the order of the enum, for metrics.
    pub const LABELS: [&'static str; 14] = [
        "finished",
        "peer_closed",
        "peer_cut",
        "peer_reset",
        "refused",
        "idle_timeout",
        "read_timeout",
        "write_timeout",
        "drained",
        "drain_cut",
        "truncated",
        "exhausted",
        "bad_proxy_header",
        "address_limit",
    ];
}

const _: () = assert!(CloseReason::Crowded as usize + 1 == CloseReason::LABELS.len());
