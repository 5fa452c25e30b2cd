//! One reactor's part in choosing: what it counted, and the choice.
//!
//! Kept over reloads: what was counted of a server stays with its endpoint, what was counted of an upstream
//! with its name. Promises: see the module above.

use std::sync::Arc;

use super::ask::{Ask, Nobody, Outcome};
use super::balance::{Dice, Field};
use super::breaker::Plan;
use super::ejection;
use super::retry::Budget;
use super::slot::Slot;
use super::vitals::{BreakerState, Change, Reason};
use super::{Cluster, Endpoint, Member};

/// See the module. One for each reactor.
pub struct Chooser {
    reactors: u32,
    dice: Dice,
    /// By endpoint id.
    slots: Vec<Slot>,
    /// By upstream.
    groups: Vec<Group>,
    /// Who may be chosen now: kept for its room.
    candidates: Vec<u32>,
    /// Kept for its room.
    means_us: Vec<u32>,
    news: Vec<(Arc<Endpoint>, Change)>,
}

/// What one reactor knows of one upstream.
#[derive(Clone, Debug, Default)]
struct Group {
    serial: u64,
    budget: Budget,
}

/// Whether a server may be asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Ready,
    /// Unwell or ejected: only when everybody is out.
    Resting,
    Shut,
}

impl Chooser {
    /// One of so many, that begins its turns wherever the seed says.
    #[must_use]
    pub fn new(seed: u64, reactors: u32) -> Chooser {
        Chooser {
            reactors: reactors.max(1),
            dice: Dice::new(seed),
            slots: Vec::new(),
            groups: Vec::new(),
            candidates: Vec::new(),
            means_us: Vec::new(),
            news: Vec::new(),
        }
    }

    /// The server that a request goes to: a place in the cluster's members. What comes of it is to be told
    /// by [`began`](Chooser::began) and [`ended`](Chooser::ended): a choice of a server whose breaker is
    /// half open took a permit, which comes back with the end, or is lost for as long as a request may take.
    ///
    /// # Errors
    /// Why there is none.
    pub fn choose(&mut self, cluster: &Cluster, ask: &Ask<'_>) -> Result<usize, Nobody> {
        // It goes round again only when another reactor took the permit that this one wanted.
        for _ in 0..=cluster.members.len() {
            self.line_up(cluster, ask)?;
            let mut field = Field {
                members: &cluster.members,
                slots: &mut self.slots,
                candidates: &self.candidates,
                dice: &mut self.dice,
            };
            let place = field.pick(cluster, ask.key);
            if self.enter(cluster, place, ask.now_ms) {
                return Ok(place);
            }
        }
        Err(Nobody::AllOut)
    }

    /// A request is under way there.
    pub fn began(&mut self, cluster: &Cluster, member: usize) {
        let endpoint = &cluster.members[member].endpoint;
        self.meet(cluster, endpoint);
        self.slots[endpoint.id as usize].under_way += 1;
        if cluster.spec.connections_max.is_some() {
            endpoint.vitals.add_busy();
        }
    }

    /// A request is not under way there any more. What that changed is to be logged; see
    /// [`news`](Chooser::news) for what else did.
    pub fn ended(
        &mut self,
        cluster: &Cluster,
        member: usize,
        outcome: Outcome,
        now_ms: u64,
    ) -> Option<Change> {
        let endpoint = &cluster.members[member].endpoint;
        self.meet(cluster, endpoint);
        if cluster.spec.connections_max.is_some() {
            endpoint.vitals.take_busy();
        }
        let slot = &mut self.slots[endpoint.id as usize];
        debug_assert_ne!(slot.under_way, 0, "{endpoint:?}: ended, but never began");
        slot.under_way = slot.under_way.saturating_sub(1);
        slot.forget_what_is_over(endpoint);
        let by_breaker = self.tell_breaker(cluster, endpoint, outcome, now_ms);
        let by_ejection = self.tell_ejection(cluster, member, outcome, now_ms);
        if by_breaker.is_some() {
            self.note(endpoint, by_ejection);
        }
        by_breaker.or(by_ejection)
    }

    /// What changed besides, to be logged: breakers half open, servers that came back.
    pub fn news(&mut self) -> Option<(Arc<Endpoint>, Change)> {
        self.news.pop()
    }

    /// A request came, which earns its upstream a part of a retry.
    pub fn note_request(&mut self, cluster: &Cluster, now_ms: u64) {
        self.group(cluster).budget.note_request(now_ms);
    }

    /// Whether a request may be tried again; if so, that retry is spent.
    pub fn may_retry(&mut self, cluster: &Cluster, now_ms: u64) -> bool {
        let reactors = self.reactors;
        self.group(cluster).budget.take(&cluster.spec.retries, reactors, now_ms)
    }

    /// Requests that this reactor has under way there.
    #[must_use]
    pub fn under_way(&self, endpoint: u32) -> u32 {
        self.slots.get(endpoint as usize).map_or(0, |slot| slot.under_way)
    }

    fn note(&mut self, endpoint: &Arc<Endpoint>, change: Option<Change>) {
        // Nobody need listen: what is not asked for is lost beyond this.
        const NEWS_MAX: usize = 64;
        if let Some(change) = change
            && self.news.len() < NEWS_MAX
        {
            self.news.push((Arc::clone(endpoint), change));
        }
    }

    /// Finds out who may be chosen: the best that there are.
    fn line_up(&mut self, cluster: &Cluster, ask: &Ask<'_>) -> Result<(), Nobody> {
        const NONE: u8 = 4;
        let mut best = NONE;
        // The ranks of those that would do but were tried, or are full.
        let (mut tried, mut full) = (NONE, NONE);
        self.candidates.clear();
        for (place, member) in cluster.members.iter().enumerate() {
            if member.weight == 0 {
                continue;
            }
            self.meet(cluster, &member.endpoint);
            let rank = match self.standing(cluster, member, ask.now_ms) {
                Standing::Shut => continue,
                standing => u8::from(standing == Standing::Resting) * 2 + u8::from(member.is_backup),
            };
            if ask.tried.contains(&member.endpoint.id) {
                tried = tried.min(rank);
            } else if is_full(cluster, member) {
                full = full.min(rank);
            } else if rank <= best {
                if rank < best {
                    self.candidates.clear();
                }
                best = rank;
                self.candidates.push(place as u32);
            }
        }
        // A full server is not out: backups are no overflow. A tried one is as good as out, but not for the
        // panic that asks who rests.
        let is_panic = |rank: u8| rank >= 2;
        match best {
            NONE if full < NONE => Err(Nobody::AllFull),
            NONE if tried < NONE => Err(Nobody::AllTried),
            NONE => Err(Nobody::AllOut),
            _ if full < best => Err(Nobody::AllFull),
            _ if is_panic(best) && !is_panic(tried) => Err(Nobody::AllTried),
            _ => Ok(()),
        }
    }

    #[inline]
    fn standing(&mut self, cluster: &Cluster, member: &Member, now_ms: u64) -> Standing {
        if member.endpoint.vitals.is_well() {
            return Standing::Ready;
        }
        self.standing_of_suspect(cluster, &member.endpoint, now_ms)
    }

    #[cold]
    fn standing_of_suspect(&mut self, cluster: &Cluster, endpoint: &Arc<Endpoint>, now_ms: u64) -> Standing {
        if endpoint.vitals.has_ejection() {
            let change = ejection::bring_back(endpoint, now_ms);
            self.note(endpoint, change);
        }
        let word = endpoint.vitals.word();
        if plan(cluster).is_some_and(|plan| !plan.lets_in(word, now_ms)) {
            return Standing::Shut;
        }
        // Whoever stopped probing does not believe the last probe for ever.
        let is_unwell = word.is_unwell && cluster.spec.health.is_some();
        if word.is_ejected || is_unwell { Standing::Resting } else { Standing::Ready }
    }

    /// Takes the permit that a breaker may want. `false`: there is none any more.
    #[inline]
    fn enter(&mut self, cluster: &Cluster, place: usize, now_ms: u64) -> bool {
        let endpoint = &cluster.members[place].endpoint;
        endpoint.vitals.is_well() || self.enter_on_trial(cluster, endpoint, now_ms)
    }

    #[cold]
    fn enter_on_trial(&mut self, cluster: &Cluster, endpoint: &Arc<Endpoint>, now_ms: u64) -> bool {
        let vitals = &endpoint.vitals;
        if vitals.word().state == BreakerState::Closed {
            return true;
        }
        let Some(plan) = plan(cluster) else {
            let change = vitals.abolish_breaker(now_ms);
            self.note(endpoint, change);
            return true;
        };
        let Some((round, change)) = vitals.take_permit(&plan, now_ms) else {
            // It may have been closed meanwhile.
            return vitals.word().state == BreakerState::Closed;
        };
        self.note(endpoint, change);
        let slot = &mut self.slots[endpoint.id as usize];
        slot.forget_what_is_over(endpoint);
        slot.trials = if slot.round == round { slot.trials + 1 } else { 1 };
        slot.round = round;
        true
    }

    fn tell_breaker(
        &mut self,
        cluster: &Cluster,
        endpoint: &Endpoint,
        outcome: Outcome,
        now_ms: u64,
    ) -> Option<Change> {
        let breaker = cluster.spec.breaker.as_ref()?;
        let slot = &mut self.slots[endpoint.id as usize];
        if slot.trials > 0 {
            // An earlier request that ends now may pass for the trial: it says as much of the server.
            slot.trials -= 1;
            let plan = Plan::of(breaker, &cluster.spec.timeouts);
            return endpoint.vitals.end_trial(slot.round, outcome.as_trial(), &plan, now_ms);
        }
        let is_failure = matches!(outcome, Outcome::Failure(_));
        let is_closed = endpoint.vitals.word().state == BreakerState::Closed;
        // What was sent before it opened says nothing new.
        if outcome == Outcome::Abandoned || !is_closed {
            return None;
        }
        slot.window.add(is_failure, now_ms, breaker.window_ms);
        slot.breaker_failures = if is_failure { slot.breaker_failures + 1 } else { 0 };
        let reason = is_failure.then(|| slot.reason_to_open(breaker, self.reactors)).flatten()?;
        endpoint.vitals.trip(reason, now_ms)
    }

    fn tell_ejection(
        &mut self,
        cluster: &Cluster,
        member: usize,
        outcome: Outcome,
        now_ms: u64,
    ) -> Option<Change> {
        let ejection = cluster.spec.ejection.as_ref()?;
        let endpoint = &*cluster.members[member].endpoint;
        let slot = &mut self.slots[endpoint.id as usize];
        // While it is out, only stragglers and panic end here.
        if endpoint.vitals.has_ejection() {
            return None;
        }
        let reason = match outcome {
            Outcome::Abandoned => return None,
            Outcome::Failure(_) => {
                slot.ejection_failures += 1;
                (slot.ejection_failures >= ejection.failures).then_some(Reason::FailuresInRow)
            }
            Outcome::Success { latency_us } => {
                slot.ejection_failures = 0;
                let times = ejection.slower_than?;
                slot.latency.add(latency_us);
                self.is_outlier(cluster, member, times).then_some(Reason::Slow)
            }
        };
        ejection::eject(cluster, endpoint, ejection, reason?, now_ms)
    }

    fn is_outlier(&mut self, cluster: &Cluster, member: usize, times: u32) -> bool {
        let slot_of = |member: &Member| self.slots.get(member.endpoint.id as usize);
        let Some(slot) = slot_of(&cluster.members[member]).filter(|slot| slot.latency.is_due()) else {
            return false;
        };
        let others = cluster.members.iter().enumerate();
        let others = others.filter(|(place, other)| ejection::is_peer(other, *place, member));
        let means = others.filter_map(|(_, other)| slot_of(other)?.latency.mean_us());
        self.means_us.clear();
        self.means_us.extend(means);
        slot.latency.is_outlier(&mut self.means_us, times)
    }

    /// Sees to it that there is a slot for it, and that it is nobody else's.
    #[inline]
    fn meet(&mut self, cluster: &Cluster, endpoint: &Endpoint) {
        let known = self.slots.get(endpoint.id as usize);
        if known.is_none_or(|slot| slot.serial != endpoint.serial) {
            self.begin_with(cluster);
        }
    }

    /// Makes room for servers never met. Turns begin anywhere, or all reactors would begin with the same.
    #[cold]
    fn begin_with(&mut self, cluster: &Cluster) {
        let mut knows_nobody = true;
        for Member { endpoint, .. } in &cluster.members {
            let place = endpoint.id as usize;
            if self.slots.len() <= place {
                self.slots.resize_with(place + 1, Slot::default);
            }
            if self.slots[place].serial == endpoint.serial {
                knows_nobody = false;
            } else {
                let ejections = endpoint.vitals.ejections();
                self.slots[place] = Slot { serial: endpoint.serial, ejections, ..Slot::default() };
            }
        }
        if knows_nobody {
            self.take_some_turns(cluster);
        }
    }

    fn take_some_turns(&mut self, cluster: &Cluster) {
        const TURNS_MAX: u64 = 64;
        let members = cluster.members.iter().enumerate();
        let primaries = members.filter(|(_, member)| member.weight > 0 && !member.is_backup);
        let candidates: Vec<u32> = primaries.map(|(place, _)| place as u32).collect();
        let total = candidates.iter().map(|place| u64::from(cluster.members[*place as usize].weight)).sum();
        let turns = self.dice.below(TURNS_MAX.min(total));
        let (slots, dice) = (&mut self.slots, &mut self.dice);
        let mut field = Field { members: &cluster.members, slots, candidates: &candidates, dice };
        (0..turns).for_each(|_| _ = field.by_turns());
    }

    fn group(&mut self, cluster: &Cluster) -> &mut Group {
        let place = cluster.pool.id as usize;
        if self.groups.len() <= place {
            self.groups.resize_with(place + 1, Group::default);
        }
        let group = &mut self.groups[place];
        if group.serial != cluster.pool.serial {
            *group = Group { serial: cluster.pool.serial, ..Group::default() };
        }
        group
    }
}

fn plan(cluster: &Cluster) -> Option<Plan> {
    cluster.spec.breaker.as_ref().map(|breaker| Plan::of(breaker, &cluster.spec.timeouts))
}

fn is_full(cluster: &Cluster, member: &Member) -> bool {
    cluster.spec.connections_max.is_some_and(|max| member.endpoint.vitals.busy() >= max)
}
