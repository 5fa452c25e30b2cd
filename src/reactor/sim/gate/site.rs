//! What a simulated gate is told: routes, upstreams and all their rules, as chance has them.

use std::net::SocketAddr;
use std::sync::Arc;

use super::deed::Mood;
use super::guest::SMALL_MAX;
use crate::config::Site as Spec;
use crate::config::site::{
    Action, Address, Balance, Breaker, Ejection, Fallback, FixedReply, HostRule, KeyOf, PathPattern,
    PathRule, Proxy, Retries, Route, ServerSpec, Timeouts, Upstream,
};
use crate::gateway::Gateway;
use crate::gateway::site::{Kept, Made, Site};
use crate::gateway::upstream::Directory;
use crate::http::Status;
use crate::reactor::sim::dice::Dice;

/// See the module.
pub(super) struct Plan {
    pub spec: Spec,
    /// How servers are disposed, by the last part of their addresses.
    pub moods: Vec<Mood>,
    /// How often a request may be sent.
    pub tries_max: usize,
}

/// How long things may take here: long enough for servers that do everything right.
pub(super) const TIMEOUTS: Timeouts = Timeouts {
    connect_ms_max: 300,
    first_byte_ms_max: 1_000,
    idle_ms_max: 1_000,
    request_ms_max: 4_000,
    total_ms_max: None,
    tunnel_ms_max: 2_000,
};

impl Plan {
    /// `is_good`: whatever goes wrong there, the gate did.
    pub(super) fn new(dice: &mut Dice, is_good: bool) -> Plan {
        let mut moods = Vec::new();
        let mut main = upstream("main");
        for _ in 0..dice.size(1, 4) {
            let mood = match dice.below(8) {
                _ if is_good => Mood::Good,
                0 => Mood::Refuses,
                1 => Mood::BlackHole,
                2 | 3 => Mood::Good,
                _ => Mood::Flaky(*dice.pick(&[2, 3, 4, 10])),
            };
            main.servers.push(server(moods.len(), *dice.pick(&[1, 1, 5]), dice.one_in(5)));
            moods.push(mood);
        }
        main.servers[0].is_backup = false;
        main.balance = match dice.below(4) {
            0 => Balance::RoundRobin,
            1 => Balance::Least,
            2 => Balance::TwoChoices,
            _ => Balance::Hash(KeyOf::Header(String::from("x-id"))),
        };
        main.retries = Retries {
            count_max: dice.below(4) as u32,
            budget_percent: *dice.pick(&[20, 1_000]),
            backoff_ms: 25,
        };
        main.idle_max = *dice.pick(&[0, 1, 4]);
        main.idle_ms_max = *dice.pick(&[300, 3_000]);
        main.connections_max = *dice.pick(&[None, None, Some(1), Some(2)]);
        main.queue_ms_max = if is_good { 60_000 } else { 300 };
        if is_good {
            // Who reads slowly may hold the one connection that there is.
            main.timeouts.request_ms_max = 60_000;
        }
        let mut other = upstream("other");
        other.servers.push(server(moods.len(), 1, false));
        other.idle_ms_max = 100;
        moods.push(if is_good {
            Mood::Good
        } else {
            *dice.pick(&[Mood::Good, Mood::Flaky(3), Mood::Refuses])
        });
        if !is_good {
            Plan::make_wary(dice, &mut main);
        }
        let tries_max = 2 + main.retries.count_max as usize + 1 + other.retries.count_max as usize;
        let routes = vec![route(dice, "up", None), route(dice, "small", Some(SMALL_MAX as u64))];
        let spec = Spec { routes, upstreams: vec![main, other], ..Spec::default() };
        Plan { spec, moods, tries_max }
    }

    fn make_wary(dice: &mut Dice, main: &mut Upstream) {
        main.ejection = dice.one_in(2).then(|| Ejection { failures: 2, ms: 500, ..Ejection::default() });
        main.breaker = dice.one_in(2).then(|| Breaker { failures: 3, open_ms: 300, ..Breaker::default() });
        main.timeouts.total_ms_max = *dice.pick(&[None, None, Some(3_000)]);
        main.fallback = match dice.below(3) {
            0 => Some(Fallback::Upstream(1)),
            1 => Some(Fallback::Respond(FixedReply {
                status: Status::SERVICE_UNAVAILABLE,
                content_type: String::from("text/plain"),
                body: b"later".to_vec(),
            })),
            _ => None,
        };
    }

    pub(super) fn gateway(&self, directory: &mut Directory) -> Gateway {
        let mut kept = Kept::default();
        let made = &mut Made { directory, kept: &mut kept, resolve: &|_| Vec::new(), seed: 1 };
        let site = Site::new(&self.spec, made).expect("a site without mistakes");
        Gateway::new().with_site(Arc::new(site))
    }
}

pub(in crate::reactor::sim) fn server(number: usize, weight: u32, is_backup: bool) -> ServerSpec {
    let address = SocketAddr::from(([192, 0, 2, number as u8], 8000));
    ServerSpec { address: Address::Socket(address), weight, is_backup }
}

pub(in crate::reactor::sim) fn upstream(name: &str) -> Upstream {
    Upstream {
        name: String::from(name),
        servers: Vec::new(),
        balance: Balance::RoundRobin,
        timeouts: TIMEOUTS,
        retries: Retries { count_max: 2, budget_percent: 1_000, backoff_ms: 25 },
        idle_max: 4,
        idle_ms_max: 3_000,
        connections_max: None,
        queue_ms_max: 300,
        resolve_ms: 30_000,
        health: None,
        ejection: None,
        breaker: None,
        fallback: None,
    }
}

fn route(dice: &mut Dice, name: &str, body_bytes_max: Option<u64>) -> Route {
    let host =
        dice.pick(&[HostRule::Keep, HostRule::Server, HostRule::Set(String::from("set.example"))]).clone();
    proxied(name, &format!("/{name}"), host, body_bytes_max)
}

/// A route to the first upstream.
pub(in crate::reactor::sim) fn proxied(
    name: &str,
    prefix: &str,
    host: HostRule,
    body_bytes_max: Option<u64>,
) -> Route {
    Route {
        name: String::from(name),
        hosts: Vec::new(),
        path: PathPattern::Prefix(String::from(prefix)),
        methods: None,
        fields: Vec::new(),
        action: Action::Proxy(Proxy { upstream: 0, host, path: PathRule::Keep, upgrades: true }),
        steps: Vec::new(),
        body_bytes_max,
        line: 0,
    }
}
