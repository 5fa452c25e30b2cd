//! Bytes in and out of the socket, and how a connection is left so that its last answer arrives.

use std::io;

use super::busy::{Busy, Share};
use super::{Client, Life, Rest};
use crate::base::write_queue::Front;
use crate::reactor::stream::Stream;
use crate::reactor::turn::{CloseReason, Turn};

#[derive(PartialEq, Eq)]
pub(super) enum Filled {
    Bytes,
    Nothing,
    End,
}

#[derive(PartialEq, Eq)]
pub(super) enum Flushed {
    /// Everything is out.
    All,
    /// The peer takes no more for now.
    Blocked,
    /// This turn's share is used up.
    Spent,
}

impl<S: Stream> Client<S> {
    /// Reads once, if there is anything to read.
    #[inline]
    pub(super) fn fill(
        &mut self,
        busy: &mut Busy,
        turn: &Turn<'_, S>,
        share: &mut Share,
    ) -> Result<Filled, CloseReason> {
        if !self.readiness.is_readable() {
            return Ok(Filled::Nothing);
        }
        let room = busy.input.room();
        let room_len = room.len();
        debug_assert!(room_len > 0, "a machine that starves over a full buffer would starve for ever");
        match self.stream.read(room) {
            Ok(0) => {
                self.readiness.read_end();
                Ok(Filled::End)
            }
            Ok(count) => {
                if count < room_len {
                    self.readiness.read_short();
                }
                busy.input.received(count);
                busy.moved += count as u64;
                share.bytes = share.bytes.saturating_sub(count as u32);
                turn.tally.bytes_in.add(count as u64);
                Ok(Filled::Bytes)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {
                    self.readiness.read_blocked();
                    Ok(Filled::Nothing)
                }
                io::ErrorKind::Interrupted => {
                    share.bytes -= 1;
                    Ok(Filled::Bytes)
                }
                _ => Err(CloseReason::PeerReset),
            },
        }
    }

    /// Writes until everything is out or the peer takes no more.
    #[inline]
    pub(super) fn flush(
        &mut self,
        busy: &mut Busy,
        turn: &Turn<'_, S>,
        share: &mut Share,
    ) -> Result<Flushed, CloseReason> {
        let is_ending = self.life != Life::Open;
        loop {
            let (asked, written) = match busy.output.front() {
                Front::Empty => return Ok(Flushed::All),
                _ if !self.readiness.is_writable() => return Ok(Flushed::Blocked),
                _ if share.written == 0 => return Ok(Flushed::Spent),
                // The last bytes leave in one segment with the end of the connection, which follows at once:
                // a packet less to send, to take in and to wake somebody for.
                Front::Bytes { bytes, more } => (bytes.len(), self.stream.write(bytes, more || is_ending)),
                Front::File(range) => (0, self.stream.send_file(range)),
            };
            match written {
                // Only a file can have nothing left to give: it shrank behind its announced length.
                Ok(0) => return Err(CloseReason::Truncated),
                Ok(count) => {
                    if count < asked {
                        self.readiness.write_blocked();
                    }
                    busy.output.sent(count);
                    busy.moved += count as u64;
                    share.written = share.written.saturating_sub(count as u32);
                    turn.tally.bytes_out.add(count as u64);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.readiness.write_blocked(),
                    io::ErrorKind::Interrupted => share.written -= 1,
                    _ => return Err(CloseReason::PeerReset),
                },
            }
        }
    }

    /// Everything is out. If that was the last answer, part; in a way that lets the peer read it.
    pub(super) fn part_or_rest(
        &mut self,
        busy: &mut Busy,
        turn: &mut Turn<'_, S>,
        share: &mut Share,
    ) -> Result<Rest, CloseReason> {
        busy.write_due_line(turn);
        let Life::Ending(reason) = self.life else {
            let has_more =
                self.readiness.is_readable() || !busy.input.is_empty() || busy.pending.has_something_to_say();
            let yields = share.is_spent() && has_more && !busy.pending.blocks_reading();
            return Ok(if yields { Rest::Yields } else { Rest::Waits });
        };
        // Closing over unread input makes the kernel send a reset, which can destroy the answer on its
        // way (RFC 9112 section 9.6). Who was refused may still be sending, who was answered before the
        // body was read, and who has pipelined before. Who came with one request and asked for the end
        // has nothing more to say: `ab` is let go for half the price.
        let may_have_more =
            self.readiness.is_readable() || !busy.input.is_empty() || busy.machine.may_be_sent_more();
        let has_come_back = busy.machine.number() > 0;
        let is_refused = matches!(reason, CloseReason::Refused | CloseReason::ReadTimeout);
        // An answer that broke off must not end as a whole one would: by the end of the stream, an old client
        // could not tell them apart.
        if reason == CloseReason::Truncated {
            return Err(reason);
        }
        if self.readiness.has_ended() || !(may_have_more || has_come_back || is_refused) {
            return Err(reason);
        }
        self.stream.close_write();
        self.life = Life::Lingering(reason);
        self.linger(reason, busy, turn, share)
    }

    /// Throws input away until it ends, or the deadline does.
    pub(super) fn linger(
        &mut self,
        reason: CloseReason,
        busy: &mut Busy,
        turn: &Turn<'_, S>,
        share: &mut Share,
    ) -> Result<Rest, CloseReason> {
        while share.bytes > 0 {
            busy.input.clear();
            match self.fill(busy, turn, share).map_err(|_| reason)? {
                Filled::Bytes => {}
                Filled::Nothing => return Ok(Rest::Waits),
                Filled::End => return Err(reason),
            }
        }
        Ok(Rest::Yields)
    }
}
