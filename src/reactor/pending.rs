//! An exchange that cannot be answered at once: its body is gathered, or a worker has it, or its answer is
//! made as it is sent.
//!
//! ```text
//!  Closed -> Collecting -> Away -> Answered -> (Sending <-> Pulling | Hungry) -> Closed
//!       \________________^    \______________________________________________^
//! ```
//! Part of what a busy connection has. The job is here, or away with a ticket that says whether its answer
//! is still wanted; never both.

use std::sync::Arc;

use crate::base::clock::Tick;
use crate::gateway::{Notes, Ticket};
use crate::http::{Method, Status};
use crate::observe::site::class;
use crate::reactor::ENTRANCE_MAIN;
use crate::reactor::access::{AccessNote, Due, Sent};
use crate::reactor::client::{let_go, note_way_so_far};
use crate::reactor::dispatch::Dispatch;
use crate::reactor::epoch::Epoch;
use crate::reactor::relay::{Relay, Trouble};
use crate::reactor::stream::Stream;
use crate::reactor::turn::Turn;
use crate::worker::pipe::Pipe;
use crate::worker::{Errand, Job};

/// See the module. Reused by one request after the other, so that it allocates nothing in the steady state.
#[derive(Default)]
pub(super) struct Pending {
    pub stage: Stage,
    /// The job, while it is here.
    pub job: Option<Box<Job>>,
    /// What is remembered of it while it is passed on. Out of it during a step.
    pub relay: Option<Box<Relay>>,
    /// What it was decided by, where its answer has middleware to pass.
    pub epoch: Option<Arc<Epoch>>,
    /// Why no server answered it.
    pub trouble: Option<Trouble>,
    /// What the job has too, while it is away.
    pub ticket: Option<Arc<Ticket>>,
    /// When its answer, or the next piece of it, is overdue.
    pub due: Option<Tick>,
    /// When it has waited for a worker for too long.
    pub withdraw_at: Option<Tick>,
    /// The way of a body that is read as it comes.
    pub pipe: Option<Arc<Pipe>>,
    /// Whether that has no room for more.
    pub is_stalled: bool,
    pub method: Option<Method>,
    pub status: Option<Status>,
    pub keep: bool,
    pub began_ns: u64,
    /// Bytes of body that are still to be collected, at most.
    pub room: u64,
    /// Bytes of body that were sent.
    pub sent: u64,
    /// Bytes of body that were announced.
    pub announced: Option<u64>,
    pub notes: Notes,
    pub note: AccessNote,
    /// The line of the last exchange that was passed on, until its answer is out.
    pub due_line: Due,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is none.
    #[default]
    Closed,
    /// Its body is gathered.
    Collecting,
    /// A worker has it, or will.
    Away,
    /// The answer is here and not begun.
    Answered,
    /// The answer is begun; the next piece is asked for when there is room.
    Sending,
    /// A worker makes the next piece, or will.
    Pulling,
    /// The next piece wants a permit.
    Hungry,
    /// The next piece is here.
    Pulled,
    /// It is passed on to a server.
    Relaying,
}

impl Pending {
    pub(super) fn is_open(&self) -> bool {
        self.stage != Stage::Closed
    }

    /// Whether it has entered the gateway and not left it.
    pub(super) fn is_unanswered(&self) -> bool {
        self.is_open() && self.status.is_none()
    }

    /// Whether only others can bring it forward.
    pub(super) fn is_away(&self) -> bool {
        matches!(self.stage, Stage::Away | Stage::Pulling | Stage::Hungry) || self.relay_waits()
    }

    /// Whether its answer, or a piece of it, is here or can be had at once.
    pub(super) fn has_something_to_say(&self) -> bool {
        matches!(self.stage, Stage::Answered | Stage::Sending | Stage::Pulled)
            || (self.stage == Stage::Relaying && !self.relay_waits())
    }

    fn relay_waits(&self) -> bool {
        self.relay.as_ref().is_some_and(|relay| relay.waits)
    }

    /// Whether it reads nothing from its client for now.
    pub(super) fn blocks_reading(&self) -> bool {
        match &self.relay {
            Some(relay) => relay.waits && !relay.reads,
            None => self.is_away() && (self.pipe.is_none() || self.is_stalled),
        }
    }

    /// Whether it has deadlines besides its client's.
    pub(super) fn has_deadlines(&self) -> bool {
        self.is_away() || self.relay.as_ref().is_some_and(|relay| relay.dues.total.is_some())
    }

    /// When it is to be looked at, whatever the client does.
    pub(super) fn next_moment(&self, now: Tick) -> Option<Tick> {
        if let Some(relay) = &self.relay {
            // A client that takes nothing does not stop the time for the whole of its answer.
            return if relay.waits { relay.next_moment(now) } else { relay.dues.total };
        }
        if !self.is_away() {
            return None;
        }
        [self.due, self.withdraw_at].into_iter().flatten().min_by_key(|moment| moment.since(now))
    }

    /// Ends it, whatever its stage: nobody wants an answer any more. One that had begun is told of all the
    /// same, as far as it came.
    pub(super) fn abandon<S: Stream>(&mut self, turn: &mut Turn<'_, S>) {
        if !self.is_open() {
            return;
        }
        let relay = self.relay.take();
        if let Some(relay) = &relay {
            note_way_so_far(relay, self, turn);
        }
        self.account(turn);
        relay.into_iter().for_each(|relay| let_go(relay, turn));
        if let Some(ticket) = self.ticket.take() {
            ticket.cancel();
        }
        if let Some(pipe) = self.pipe.take() {
            pipe.close(false);
        }
        self.close(turn.dispatch);
    }

    /// Its client is gone. A request that was passed on and not answered is told of all the same: somebody
    /// was asked for it, perhaps for long, and perhaps that is why.
    pub(super) fn desert<S: Stream>(&mut self, turn: &mut Turn<'_, S>) {
        if self.stage == Stage::Relaying && self.status.is_none() {
            if let Some(relay) = self.relay.take() {
                note_way_so_far(&relay, self, turn);
                self.relay = Some(relay);
            }
            let took_ns = turn.clock.precise_ns().saturating_sub(self.began_ns);
            if let Some(epoch) = &self.epoch {
                count_in(NO_CLASS, epoch, &self.notes, took_ns, turn.lines.reactor);
            }
            let sent = Sent { status: DESERTED, body_bytes: 0 };
            self.due_line.set(&mut self.note, sent, self.began_ns, turn.clock.precise_ns());
        }
        self.abandon(turn);
    }

    /// Writes down what was answered, if anything was.
    pub(super) fn account<S: Stream>(&mut self, turn: &mut Turn<'_, S>) {
        let Some(status) = self.status else { return };
        let took_ns = turn.clock.precise_ns().saturating_sub(self.began_ns);
        turn.tally.latency.record(took_ns, 1);
        if let Some(epoch) = &self.epoch {
            count_route(epoch, &self.notes, status, took_ns, turn.lines.reactor);
        }
        let Some(access) = &mut turn.access else { return };
        let sent = Sent { status, body_bytes: self.sent };
        if self.stage == Stage::Relaying {
            self.due_line.set(&mut self.note, sent, self.began_ns, self.began_ns + took_ns);
        } else {
            access.write_note(&self.note, sent, self.began_ns, turn.clock, turn.stamp);
        }
    }

    /// Ends it: it is answered.
    pub(super) fn close(&mut self, dispatch: &mut Dispatch) {
        if let Some(job) = self.job.take() {
            dispatch.give_back(job);
        }
        debug_assert!(self.relay.is_none(), "whoever ends it lets go of its server");
        self.stage = Stage::Closed;
        self.epoch = None;
        self.trouble = None;
        self.ticket = None;
        self.pipe = None;
        self.is_stalled = false;
        self.due = None;
        self.withdraw_at = None;
        self.method = None;
        self.status = None;
        self.sent = 0;
        self.announced = None;
        self.notes.clear();
        self.note.clear();
    }

    /// The job is back, with what came of it.
    pub(super) fn come_home(&mut self, job: Box<Job>) {
        self.stage = match job.errand {
            Errand::Pulled(..) | Errand::Burst => Stage::Pulled,
            _ => Stage::Answered,
        };
        self.job = Some(job);
        self.ticket = None;
    }
}

/// Notes down what a site's route has answered.
pub(super) fn count_route(epoch: &Epoch, notes: &Notes, status: Status, took_ns: u64, reactor: u32) {
    count_in(class(status.code()), epoch, notes, took_ns, reactor);
}

/// What access lines say where nothing could be answered any more, as nginx has it.
const DESERTED: Status = Status::from_code(499).expect("a status");
/// Of [`CLASSES`](crate::observe::site::CLASSES): none.
const NO_CLASS: usize = 0;

fn count_in(class: usize, epoch: &Epoch, notes: &Notes, took_ns: u64, reactor: u32) {
    let Some(number) = notes.route() else { return };
    // Only the main listeners have a site.
    let Some(site) = epoch.gateway(ENTRANCE_MAIN).site() else { return };
    let tally = site.routes()[number].series().tallies.of(reactor);
    tally.answers[class].add(1);
    tally.latency.record_ns(took_ns);
    if let Some(refuser) = notes.refuser() {
        tally.refusals[refuser].add(1);
    }
}
