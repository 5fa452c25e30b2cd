//! What a server says, on its way to the client.

use super::super::busy::Busy;
use super::{Client, end_try, note_way};
use crate::gateway::site::Site;
use crate::gateway::upstream::{FailureKind, Outcome};
use crate::http::{Body, Fields, Method, Response, Status};
use crate::observe::log::Level;
use crate::observe::site::class;
use crate::proto::h1::answer::{AnswerFraming, AnswerLimits, AnswerStep, Fault, relay_fields};
use crate::proto::h1::encode::Relayed;
use crate::reactor::relay::{Relay, Stage, Trouble};
use crate::reactor::stream::Stream;
use crate::reactor::turn::Turn;

impl<S: Stream> Client<S> {
    /// Takes in what the server says, a buffer at most, and passes it on. Tells whether anything came.
    pub(super) fn hear(
        &mut self,
        relay: &mut Relay,
        site: &Site,
        busy: &mut Busy,
        turn: &mut Turn<'_, S>,
    ) -> Result<bool, Trouble> {
        let mut has_read = false;
        let mut has_moved = false;
        while busy.output.queued() <= u64::from(turn.limits.output_bytes_high) {
            if relay.input.is_none() {
                let has_news =
                    relay.line.and_then(|name| turn.lines.line(name)).is_some_and(|line| line.has_news());
                if !has_news {
                    return Ok(has_moved);
                }
                relay.input = Some(turn.lines.lend_buffer());
            }
            match self
                .hear_step(relay, site, busy, turn)
                .map_err(|fault| self.told(fault, relay, site, turn))?
            {
                Heard::Something => has_moved = true,
                Heard::End => return Ok(true),
                Heard::Nothing if has_read => return Ok(true),
                Heard::Nothing => match self.read_line(relay, turn)? {
                    Some(0) => {
                        let end = relay.reader.end();
                        end.map_err(|fault| self.told(fault, relay, site, turn))?;
                    }
                    Some(_) => {
                        has_read = true;
                        has_moved = true;
                        self.renew_step_due(relay, site, turn);
                    }
                    None => return Ok(has_moved),
                },
            }
        }
        Ok(has_moved)
    }

    pub(super) fn read_line(
        &self,
        relay: &mut Relay,
        turn: &mut Turn<'_, S>,
    ) -> Result<Option<usize>, Trouble> {
        let line = relay.line.and_then(|name| turn.lines.line(name));
        let (Some(line), Some(input)) = (line, &mut relay.input) else { return Ok(None) };
        let read = line.read(input.room()).map_err(|_| Trouble::Broken)?;
        if let Some(count) = read {
            input.received(count);
        }
        Ok(read)
    }

    /// One thing the server has said.
    fn hear_step(
        &mut self,
        relay: &mut Relay,
        site: &Site,
        busy: &mut Busy,
        turn: &mut Turn<'_, S>,
    ) -> Result<Heard, Fault> {
        let Some(input) = &mut relay.input else { return Ok(Heard::Nothing) };
        match relay.reader.receive(input, &mut turn.lines.index, &LIMITS)? {
            AnswerStep::Starved => return Ok(Heard::Nothing),
            AnswerStep::Interim => self.pass_interim(relay, busy, turn),
            AnswerStep::Switched => {
                self.open_tunnel(relay, site, busy, turn);
                return Ok(Heard::End);
            }
            AnswerStep::Head => self.pass_head(relay, site, busy, turn),
            AnswerStep::Body(count) => {
                busy.machine.more(&input.unread()[..count], &mut busy.output);
                busy.pending.sent += count as u64;
                input.consume(count);
            }
            AnswerStep::Trailer(count) => {
                relay.trailers.extend_from_slice(&input.unread()[..count]);
                input.consume(count);
            }
            AnswerStep::Whole => {
                self.end_answer(relay, site, busy, turn);
                return Ok(Heard::End);
            }
        }
        Ok(Heard::Something)
    }

    /// The server has broken a rule, or its connection has ended too early.
    #[cold]
    fn told(&self, fault: Fault, relay: &Relay, site: &Site, turn: &Turn<'_, S>) -> Trouble {
        if fault == Fault::NoAnswer {
            return Trouble::Broken;
        }
        let cluster = &site.clusters()[relay.cluster];
        let (name, server) = (&cluster.spec.name, &cluster.members[relay.member].endpoint.label);
        let label = fault.label();
        turn.log.event(Level::Warn, "upstream", format_args!("{name} {server}: bad answer: {label}"));
        if fault == Fault::Cut { Trouble::Broken } else { Trouble::Malformed }
    }

    /// RFC 9110 section 15.2: passed on, but for the 100 that asks for a body that was asked for already.
    #[cold]
    fn pass_interim(&self, relay: &mut Relay, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        let Some(input) = &mut relay.input else { return };
        let index = &turn.lines.index;
        if index.status == Status::CONTINUE {
            relay.dues.ask = None;
            busy.machine.ask_for_body(&mut busy.output);
        } else {
            relay.fields.clear();
            relay_fields(index, input.unread(), &mut relay.fields, |_| false);
            busy.machine.interim(index.status, &relay.fields, &mut busy.output);
        }
        input.consume(usize::from(index.head_len));
    }

    fn pass_head(&mut self, relay: &mut Relay, site: &Site, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        let Some(input) = &mut relay.input else { return };
        let index = &turn.lines.index;
        let (status, framing) = (index.status, index.framing);
        let mut lines = std::mem::take(&mut relay.fields);
        lines.clear();
        let has_date = relay_fields(index, input.unread(), &mut lines, |_| false);
        let said_length = index.said_length;
        input.consume(usize::from(index.head_len));
        relay.phases.first_byte_ns = turn.clock.now_ns();

        let mut response = Response { status, fields: Fields::of_lines(lines), body: Body::Empty };
        if let Some(cause) = relay.cause {
            response.fields.push("X-Fallback-Cause", cause.label());
        }
        self.finish_by_gateway(busy, &mut response, turn);
        let keep = busy.pending.keep && !turn.draining;
        if !busy.machine.has_whole_request() && status.code() >= 300 {
            // It has heard enough: what is still to come of the body is nobody's.
            relay.upload.give_up();
            busy.machine.forgo_body(keep);
        }
        relay.upload.forget();
        let length = match framing {
            AnswerFraming::Length(length) => Some(length),
            AnswerFraming::Nothing => said_length,
            AnswerFraming::Chunked | AnswerFraming::ToEnd => None,
        };
        let lines = response.fields.into_lines();
        let relayed = Relayed { status, lines: &lines, length, has_date };
        relay.has_body = busy.machine.begin_relayed(&relayed, keep, turn.stamp, &mut busy.output);
        relay.fields = lines;
        let method = busy.pending.method.unwrap_or(Method::Unknown);
        turn.tally.answers.add(method as usize, status.code(), 1);
        busy.pending.status = Some(status);
        let cluster = &site.clusters()[relay.cluster];
        let server = &cluster.members[relay.member].endpoint.tallies;
        server.of(turn.lines.reactor).answers[class(status.code())].add(1);
        let waited_ns = relay.phases.first_byte_ns.saturating_sub(relay.phases.chosen_ns);
        cluster.tallies.of(turn.lines.reactor).latency.record_ns(waited_ns);
        relay.is_server_failure = matches!(status.code(), 502..=504);
        relay.stage = Stage::Answering;
        relay.dues.head = None;
        relay.dues.gone = None;
        relay.dues.ask = None;
        self.renew_step_due(relay, site, turn);
    }

    /// The answer is complete: the line goes back to the others if nothing speaks against it.
    fn end_answer(&mut self, relay: &mut Relay, site: &Site, busy: &mut Busy, turn: &mut Turn<'_, S>) {
        let outcome = match relay.is_server_failure {
            true => Outcome::Failure(FailureKind::Status),
            false => Outcome::Success { latency_us: latency_us(relay, turn.clock.now_ns()) },
        };
        // Bytes behind an answer are nobody's, and a request that is not out would be found by the next one.
        let is_clean = relay.reader.may_stay() && relay.upload.is_out() && is_quiet(relay, turn);
        let spec = &site.clusters()[relay.cluster].spec;
        if let Some(line) = relay.line.take_if(|_| is_clean && spec.idle_max > 0 && !turn.draining) {
            turn.lines.rest(line, spec.idle_max, turn.clock.after_ms(spec.idle_ms_max));
        }
        end_try(relay, site, outcome, turn);
        if !busy.machine.has_whole_request() {
            busy.machine.forgo_body(busy.pending.keep && !turn.draining);
        }
        if relay.has_body {
            busy.machine.finish_with(&relay.trailers, &mut busy.output);
        }
        relay.stage = Stage::Over;
        note_way(relay, site, &mut busy.pending, turn);
        self.conclude(busy, turn);
    }
}

/// What came of a look at what the server says.
enum Heard {
    Something,
    /// All there is was looked at.
    Nothing,
    /// The answer is over, or is none any more.
    End,
}

/// An answer's head has to fit into the buffer that it is read into.
const LIMITS: AnswerLimits =
    AnswerLimits { head_bytes_max: 16 * 1024 - 256, fields_max: 100, interims_max: 8 };

/// Whether nothing has come behind the answer. What was told of while the line was in use will not be told
/// again, and would be taken for the answer to the next request.
fn is_quiet<S: Stream>(relay: &mut Relay, turn: &mut Turn<'_, S>) -> bool {
    let Some(input) = relay.input.as_mut().filter(|input| input.is_empty()) else {
        return relay.input.is_none();
    };
    let Some(line) = relay.line.and_then(|name| turn.lines.line(name)) else { return false };
    if line.has_news() {
        // A read that filled its buffer to the last byte does not tell whether there is more.
        input.clear();
        return matches!(line.read(input.room()), Ok(None));
    }
    !line.readiness.is_ending() && !line.readiness.is_broken()
}

pub(super) fn latency_us(relay: &Relay, now_ns: u64) -> u32 {
    let from = relay.phases.chosen_ns;
    let until = if relay.phases.first_byte_ns > 0 { relay.phases.first_byte_ns } else { now_ns };
    u32::try_from(until.saturating_sub(from) / 1_000).unwrap_or(u32::MAX)
}
