//! A relay looked at from outside: for simulations.

use super::Client;
use crate::base::clock::Tick;
use crate::reactor::lines::{LineName, Lines};
use crate::reactor::relay::{Dues, Stage};
use crate::reactor::stream::Stream;

/// What is to be held against what others say.
#[derive(Debug)]
pub(in crate::reactor) struct Look {
    pub line: Option<LineName>,
    pub has_input: bool,
    /// Why it could go on, if it waits and could.
    pub could_move: Option<&'static str>,
    /// When it wants to be looked at, if it waits.
    pub next_moment: Option<Tick>,
    pub unsent: usize,
    pub stage: Stage,
    pub dues: Dues,
}

impl<S: Stream> Client<S> {
    /// `None`: its request is not passed on.
    pub(in crate::reactor) fn look_at_relay(&mut self, lines: &mut Lines<S>) -> Option<Look> {
        let is_readable = self.readiness.is_readable();
        let busy = self.busy.as_deref_mut()?;
        let relay = busy.pending.relay.as_deref()?;
        let line = relay.line.and_then(|name| lines.line(name));
        let (has_news, has_room, is_heard) = match line {
            Some(line) => (line.has_news(), line.readiness.is_writable(), line.is_heard_of()),
            None => (false, false, false),
        };
        let may_hear = busy.output.is_empty();
        let could_move = match relay.stage {
            _ if !relay.waits => None,
            Stage::Choosing | Stage::Over => Some("it waits for nobody"),
            Stage::Resting(_) => None,
            Stage::Queued => None,
            Stage::Connecting => is_heard.then_some("its connection stands, or does not"),
            Stage::Asking | Stage::Answering | Stage::Tunnel if has_news && may_hear => {
                Some("its server spoke")
            }
            Stage::Asking | Stage::Answering | Stage::Tunnel
                if has_room && !relay.upload.unsent().is_empty() =>
            {
                Some("its server takes more")
            }
            Stage::Tunnel if is_readable && relay.upload.has_room() => Some("its client spoke"),
            Stage::Asking | Stage::Answering | Stage::Tunnel => None,
        };
        let moment = relay.next_moment(Tick(0));
        Some(Look {
            line: relay.line,
            has_input: relay.input.is_some(),
            could_move,
            // Who is slow to read is not looked at for the whole answer's time before it reads on.
            next_moment: moment.filter(|moment| relay.waits && Some(*moment) != relay.dues.total),
            unsent: relay.upload.unsent().len(),
            stage: relay.stage,
            dues: relay.dues,
        })
    }
}
