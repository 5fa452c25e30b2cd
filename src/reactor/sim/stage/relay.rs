//! Requests that are passed on, told word by word: what each side says, and what the other one hears of it.

mod bounds;
mod faults;
mod rules;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::{Stage, calm_limits, heard, say};
use crate::base::clock::Clock;
use crate::config::site::{HostRule, Upstream};
use crate::config::{Limits, Site as Spec};
use crate::gateway::Gateway;
use crate::gateway::site::{Kept, Made, Site};
use crate::gateway::upstream::Directory;
use crate::reactor::floor::{Floor, Means};
use crate::reactor::lines::UpstreamMeans;
use crate::reactor::sim::dial::{Operator, Switchboard};
use crate::reactor::sim::gate::site::{proxied, server, upstream};
use crate::reactor::sim::wire::{Standing, Wire};
use crate::reactor::sim::world::means;

type End = Rc<RefCell<Wire>>;

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &[u8] = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// An upstream of so many servers.
fn servers(count: usize) -> Upstream {
    let servers = (0..count).map(|number| server(number, 1, false)).collect();
    Upstream { servers, ..upstream("main") }
}

/// A site in which everything goes to the first of these.
fn site(upstreams: Vec<Upstream>) -> Spec {
    Spec { routes: vec![proxied("all", "/", HostRule::Keep, None)], upstreams, ..Spec::default() }
}

fn made(spec: &Spec, directory: &mut Directory) -> Arc<Site> {
    let mut kept = Kept::default();
    let made = &mut Made { directory, kept: &mut kept, resolve: &|_| Vec::new(), seed: 1 };
    Arc::new(Site::new(spec, made).expect("a site without mistakes"))
}

fn gateway(spec: &Spec, directory: &mut Directory) -> Gateway {
    Gateway::new().with_site(made(spec, directory))
}

fn gate(upstream: Upstream) -> Stage {
    gate_of(&site(vec![upstream]), calm_limits(), &mut Directory::new())
}

fn gate_of(spec: &Spec, limits: Limits, directory: &mut Directory) -> Stage {
    gate_with(made(spec, directory), limits)
}

fn gate_with(site: Arc<Site>, limits: Limits) -> Stage {
    let board = Rc::<RefCell<Switchboard>>::default();
    let operator = Operator { board: Rc::clone(&board), lay: Box::new(Wire::calm) };
    let means = means(Gateway::new().with_site(site), limits, 64, 64, 4 * 1024);
    let means =
        Means { upstream: UpstreamMeans { lines_max: 64, seed: 1, reactors: 1, reactor: 0 }, ..means };
    Stage::of(Floor::new(means, Clock::scripted(), Box::new(operator)), None, board)
}

impl Stage {
    /// The newest connection to a server, which stands now.
    fn pick_up(&mut self) -> End {
        let wire = Rc::clone(&self.lines.last().expect("somebody was dialled").wire);
        wire.borrow_mut().settle(Standing::Open);
        self.turn(0);
        wire
    }

    /// The newest connection cannot be made.
    fn turn_down(&mut self) {
        self.lines.last().expect("somebody was dialled").wire.borrow_mut().settle(Standing::Failed(111));
        self.turn(0);
    }

    /// A client that asks that, on a new connection to a server.
    fn ask(&mut self, bytes: &[u8]) -> (End, End) {
        let client = self.connect(bytes);
        self.turn(0);
        let line = self.pick_up();
        (client, line)
    }

    /// Somebody says something, and it is heard.
    fn tell(&mut self, end: &End, bytes: &[u8]) {
        say(end, bytes);
        self.turn(0);
        self.turn(0);
    }

    /// Somebody says nothing more.
    fn end(&mut self, end: &End) {
        end.borrow_mut().fin_in_transit = true;
        self.tell(end, b"");
    }

    /// So many milliseconds, in small steps.
    fn pass(&mut self, ms: u64) {
        (0..ms.div_ceil(20)).for_each(|_| self.turn(20));
    }
}

/// Whether the floor has let go of it.
fn is_closed(end: &End) -> bool {
    end.borrow().closed
}

/// The status of the one answer that has come.
fn status(client: &End) -> u16 {
    let text = heard(client);
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "one answer: {text:?}");
    text[9..12].parse().expect("a status")
}
