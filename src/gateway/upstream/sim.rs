//! Hours of an upstream in a second: servers die, flap, fall silent and slow down; reactors choose among
//! them, share what they find out, lose permits and are given new lists of servers. All of it from a seed.
//!
//! Checks with every choice and every end what the module above promises, by books of its own.

use std::collections::VecDeque;
use std::sync::Arc;

use super::balance::Dice;
use super::testing::*;
use super::*;
use crate::config::site::{Balance, Breaker, Ejection, Health, KeyOf, ServerSpec, Timeouts};

/// How a server is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Fine,
    /// Refuses connections.
    Dead,
    /// Takes requests and says nothing.
    Silent,
    /// Fails every so manieth request.
    Flapping(u64),
    Slow,
}

struct Server {
    mood: Mood,
    /// Since when it is fine and nobody had reason to think otherwise.
    fine_since_ms: u64,
    last_chosen_ms: u64,
    /// Until when its breaker is open, as far as was told.
    open_until_ms: u64,
    /// When its trials began that are under way.
    trials: Vec<(u64, u64)>,
}

struct Request {
    number: u64,
    cluster: Arc<Cluster>,
    reactor: usize,
    member: usize,
    ends_ms: u64,
    outcome: Outcome,
    key: u64,
    tried: Vec<u32>,
}

#[derive(Default, Clone, Copy)]
struct Second {
    requests: u64,
    retries: u64,
}

#[derive(Default, Debug)]
struct Told {
    opened: u32,
    half_opened: u32,
    closed: u32,
    ejected: u32,
    returned: u32,
    panics: u32,
    lost: u32,
    failed: u32,
    served: u32,
}

struct World {
    dice: Dice,
    /// Everybody is dead at once.
    is_disaster: bool,
    spec: Upstream,
    directory: Directory,
    cluster: Arc<Cluster>,
    servers: Vec<Server>,
    choosers: Vec<Chooser>,
    under_way: Vec<Request>,
    seconds: VecDeque<Second>,
    now_ms: u64,
    requests: u64,
    told: Told,
}

const SERVERS: usize = 6;
const STEP_MS: u64 = 25;

impl World {
    fn new(seed: u64) -> World {
        let mut dice = Dice::new(seed);
        let balances =
            [Balance::RoundRobin, Balance::Least, Balance::TwoChoices, Balance::Hash(KeyOf::Client)];
        let spec = Upstream {
            balance: balances[dice.below(4) as usize].clone(),
            timeouts: Timeouts { first_byte_ms_max: 3_000, ..Timeouts::default() },
            health: (dice.below(2) == 0).then(Health::default),
            ejection: (dice.below(3) > 0).then(|| Ejection {
                slower_than: Some(4),
                share_max_percent: [0, 34, 50, 100][dice.below(4) as usize],
                ..Ejection::default()
            }),
            breaker: Some(Breaker { probes: 1 + dice.below(3) as u32, ..Breaker::default() }),
            ..upstream("app")
        };
        let mut directory = Directory::new();
        let cluster = Arc::new(directory.cluster(0, &spec, &list(SERVERS)));
        let reactors = 1 + dice.below(4) as u32;
        let server = |_| Server {
            mood: Mood::Fine,
            fine_since_ms: 0,
            last_chosen_ms: 0,
            open_until_ms: 0,
            trials: Vec::new(),
        };
        World {
            choosers: (0..reactors).map(|number| Chooser::new(seed ^ u64::from(number), reactors)).collect(),
            servers: (0..SERVERS).map(server).collect(),
            dice,
            is_disaster: false,
            spec,
            directory,
            cluster,
            under_way: Vec::new(),
            seconds: VecDeque::from([Second::default()]),
            now_ms: 1_000,
            requests: 0,
            told: Told::default(),
        }
    }

    fn run(&mut self, hours: u64) {
        let end_ms = self.now_ms + hours * 3_600_000;
        while self.now_ms < end_ms {
            self.now_ms += STEP_MS;
            if self.now_ms.is_multiple_of(1_000) {
                self.each_second();
            }
            self.end_requests();
            if self.dice.below(2) == 0 {
                let reactor = self.dice.below(self.choosers.len() as u64) as usize;
                self.begin(reactor);
            }
        }
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.dice.below(n) == 0
    }

    fn each_second(&mut self) {
        self.check_budget();
        self.seconds.push_back(Second::default());
        if self.one_in(60) {
            self.change_a_mood();
        }
        if self.one_in(600) {
            // Old sites live on with their requests.
            let servers = SERVERS - self.dice.below(3) as usize;
            self.cluster = Arc::new(self.directory.cluster(0, &self.spec, &list(servers)));
        }
        if self.now_ms.is_multiple_of(5_000) && self.spec.health.is_some() {
            for member in &self.cluster.members {
                let is_good = !matches!(self.servers[place(member)].mood, Mood::Dead | Mood::Silent);
                member.endpoint.vitals.note_probe(is_good, 2, 3);
            }
        }
        self.check_everybody_gets_some();
    }

    fn change_a_mood(&mut self) {
        let now_ms = self.now_ms;
        let is_over = std::mem::take(&mut self.is_disaster);
        self.is_disaster = !is_over && self.one_in(15);
        if is_over || self.is_disaster {
            let mood = if is_over { Mood::Fine } else { Mood::Dead };
            self.servers.iter_mut().for_each(|server| (server.mood, server.fine_since_ms) = (mood, now_ms));
        }
        let server = self.dice.below(SERVERS as u64) as usize;
        let mood = match self.dice.below(8) {
            0 => Mood::Dead,
            1 => Mood::Silent,
            2 => Mood::Flapping(2 + self.dice.below(4)),
            3 => Mood::Slow,
            _ => Mood::Fine,
        };
        let server = &mut self.servers[server];
        if server.mood != mood {
            server.fine_since_ms = now_ms;
        }
        server.mood = mood;
    }

    fn begin(&mut self, reactor: usize) {
        self.requests += 1;
        let (number, key) = (self.requests, self.dice.below(u64::MAX));
        let cluster = Arc::clone(&self.cluster);
        self.choosers[reactor].note_request(&cluster, self.now_ms);
        self.second().requests += 1;
        self.try_once(number, cluster, reactor, key, Vec::new());
    }

    fn second(&mut self) -> &mut Second {
        self.seconds.back_mut().unwrap()
    }

    fn try_once(&mut self, number: u64, cluster: Arc<Cluster>, reactor: usize, key: u64, tried: Vec<u32>) {
        let states: Vec<BreakerState> =
            cluster.members.iter().map(|member| member.endpoint.vitals.breaker().state).collect();
        let ask = Ask { key: Some(key), tried: &tried, now_ms: self.now_ms };
        let chosen = self.choosers[reactor].choose(&cluster, &ask);
        self.listen(reactor);
        let Ok(member) = chosen else {
            self.told.failed += 1;
            return;
        };
        self.check_choice(&cluster, member, &tried, &states, number);
        if self.one_in(500) {
            // It is chosen and never begun: a permit may be lost.
            self.told.lost += 1;
            return;
        }
        self.choosers[reactor].began(&cluster, member);
        let (after_ms, outcome) = self.fate(place(&cluster.members[member]));
        let ends_ms = self.now_ms + after_ms;
        self.under_way.push(Request { number, cluster, reactor, member, ends_ms, outcome, key, tried });
    }

    /// What becomes of a request there, and when.
    fn fate(&mut self, server: usize) -> (u64, Outcome) {
        if self.one_in(50) {
            return (self.dice.below(100), Outcome::Abandoned);
        }
        let usual_ms = 5 + self.dice.below(30);
        let took = |ms: u64| (ms, Outcome::Success { latency_us: ms as u32 * 1_000 });
        match self.servers[server].mood {
            Mood::Dead => (1, Outcome::Failure(FailureKind::Connect)),
            Mood::Silent => (3_000, Outcome::Failure(FailureKind::Silent)),
            Mood::Flapping(n) if self.dice.below(n) == 0 => (2, Outcome::Failure(FailureKind::Status)),
            Mood::Slow => took(usual_ms * 20),
            Mood::Fine | Mood::Flapping(_) => took(usual_ms),
        }
    }

    fn end_requests(&mut self) {
        let now_ms = self.now_ms;
        let (done, rest) =
            std::mem::take(&mut self.under_way).into_iter().partition(|request| request.ends_ms <= now_ms);
        self.under_way = rest;
        let done: Vec<Request> = done;
        for mut request in done {
            self.end(&request);
            let id = request.cluster.members[request.member].endpoint.id;
            match request.outcome {
                Outcome::Failure(_) if request.tried.len() < 2 => {
                    request.tried.push(id);
                    if self.choosers[request.reactor].may_retry(&request.cluster, now_ms) {
                        self.second().retries += 1;
                        let Request { number, cluster, reactor, key, tried, .. } = request;
                        self.try_once(number, cluster, reactor, key, tried);
                    }
                }
                Outcome::Failure(_) => self.told.failed += 1,
                _ => self.told.served += 1,
            }
        }
    }

    fn end(&mut self, request: &Request) {
        let endpoint = &request.cluster.members[request.member].endpoint;
        let server = place(&request.cluster.members[request.member]);
        let (cluster, member) = (&request.cluster, request.member);
        let change = self.choosers[request.reactor].ended(cluster, member, request.outcome, self.now_ms);
        self.servers[server].trials.retain(|(number, _)| *number != request.number);
        if let Some(change) = change {
            self.hear(endpoint, change, cluster);
        }
        self.listen(request.reactor);
    }

    fn listen(&mut self, reactor: usize) {
        let cluster = Arc::clone(&self.cluster);
        while let Some((endpoint, change)) = self.choosers[reactor].news() {
            self.hear(&endpoint, change, &cluster);
        }
    }

    fn hear(&mut self, endpoint: &Endpoint, change: Change, cluster: &Cluster) {
        let server = &mut self.servers[place_of(endpoint)];
        match change {
            Change::BreakerOpened(_) => {
                self.told.opened += 1;
                server.open_until_ms = self.now_ms + 5_000;
                server.trials.clear();
            }
            Change::BreakerHalfOpened => self.told.half_opened += 1,
            Change::BreakerClosed => {
                self.told.closed += 1;
                server.open_until_ms = 0;
                server.trials.clear();
            }
            Change::Ejected(..) => {
                self.told.ejected += 1;
                let percent = self.spec.ejection.unwrap().share_max_percent as usize;
                // A list that is older than this one may have been longer.
                let most = cluster.members.len().max(self.cluster.members.len());
                let bound = if most < 2 { 0 } else { (most * percent / 100).max(1) };
                assert!(cluster.ejected() as usize <= bound, "{} of {most} are out", cluster.ejected());
            }
            Change::Returned => self.told.returned += 1,
            Change::FellIll | Change::Recovered => {}
        }
    }

    fn check_choice(
        &mut self,
        cluster: &Cluster,
        member: usize,
        tried: &[u32],
        states: &[BreakerState],
        number: u64,
    ) {
        let now_ms = self.now_ms;
        let chosen = &cluster.members[member].endpoint;
        assert!(!tried.contains(&chosen.id), "tried again");
        let probes = self.spec.breaker.unwrap().probes as usize;
        let server = &mut self.servers[place_of(chosen)];
        server.last_chosen_ms = now_ms;
        assert!(now_ms >= server.open_until_ms, "{chosen:?} was chosen while its breaker was open");
        if states[member] != BreakerState::Closed {
            // After four seconds, connect and first byte, a permit counts for lost; open for five.
            server.trials.retain(|(_, at_ms)| now_ms - at_ms < 5_000);
            server.trials.push((number, now_ms));
            assert!(server.trials.len() <= probes, "{chosen:?} is on trial by {:?}", server.trials);
        }
        let is_out =
            |vitals: &Vitals| vitals.is_ejected(now_ms) || (vitals.is_unwell() && self.spec.health.is_some());
        if is_out(&chosen.vitals) {
            self.told.panics += 1;
            for (other, state) in cluster.members.iter().zip(states) {
                let is_shut = *state != BreakerState::Closed;
                assert!(is_shut || is_out(&other.endpoint.vitals), "{other:?} was well, {chosen:?} was not");
            }
        }
    }

    /// Requests come twenty a second; within half a minute some must have come to everybody who was fine all
    /// the while and whose time out is over.
    fn check_everybody_gets_some(&mut self) {
        const PATIENCE_MS: u64 = 30_000;
        for member in &self.cluster.members {
            let server = &mut self.servers[place(member)];
            if server.mood != Mood::Fine || member.endpoint.vitals.is_ejected(self.now_ms) {
                server.fine_since_ms = self.now_ms;
            }
            let since_ms = server.fine_since_ms.max(server.last_chosen_ms);
            assert!(
                self.now_ms - since_ms < PATIENCE_MS,
                "{member:?} gets nothing: {:?}",
                member.endpoint.vitals
            );
        }
        // Who is not on the list gets nothing and does not wait.
        for server in self.cluster.members.len()..SERVERS {
            self.servers[server].fine_since_ms = self.now_ms;
        }
    }

    fn check_budget(&mut self) {
        while self.seconds.len() > 11 {
            self.seconds.pop_front();
        }
        let last_ten = self.seconds.iter().skip(self.seconds.len().saturating_sub(10));
        let retries: u64 = last_ten.map(|second| second.retries).sum();
        let requests: u64 = self.seconds.iter().map(|second| second.requests).sum();
        let reactors = self.choosers.len() as u64;
        assert!(retries <= requests / 5 + 30_u64.div_ceil(reactors) * reactors, "{retries} of {requests}");
    }
}

fn list(count: usize) -> Vec<(ServerSpec, Vec<SocketAddr>)> {
    let weights = [3, 1, 1, 2, 1, 1];
    servers(&weights[..count])
}

/// Which server it is: the last number of its address.
fn place_of(endpoint: &Endpoint) -> usize {
    match &endpoint.place {
        Place::Socket(SocketAddr::V4(address)) => usize::from(address.ip().octets()[3]) - 1,
        other => panic!("{other} is none of ours"),
    }
}

fn place(member: &Member) -> usize {
    place_of(&member.endpoint)
}

#[test]
fn hours_of_trouble_break_no_promise() {
    let mut all = Told::default();
    for seed in 0..6 {
        eprintln!("seed {seed}");
        let mut world = World::new(seed);
        world.run(1);
        let idle: u32 =
            world.choosers.iter().map(|chooser| (0..16).map(|id| chooser.under_way(id)).sum::<u32>()).sum();
        assert_eq!(idle as usize, world.under_way.len());
        let told = world.told;
        assert!(told.failed * 4 < told.served, "{told:?}");
        all.opened += told.opened;
        all.half_opened += told.half_opened;
        all.closed += told.closed;
        all.ejected += told.ejected;
        all.returned += told.returned;
        all.panics += told.panics;
        all.lost += told.lost;
    }
    // It proves nothing where nothing happens.
    eprintln!("{all:?}");
    let counts = [all.opened, all.half_opened, all.closed, all.ejected, all.returned, all.panics, all.lost];
    assert!(counts.iter().all(|count| *count > 10), "{all:?}");
}
