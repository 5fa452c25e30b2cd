//! Stories of choosing and healing, told with one or two reactors and a clock that is a number.

use proptest::prelude::*;

use super::testing::*;
use super::*;
use crate::config::site::{Balance, Breaker, Ejection, Health, KeyOf, Retries};

const FAILED: Outcome = Outcome::Failure(FailureKind::Connect);

fn took(latency_us: u32) -> Outcome {
    Outcome::Success { latency_us }
}

/// One reactor and its clock.
struct Stage {
    cluster: Cluster,
    chooser: Chooser,
    now_ms: u64,
}

impl Stage {
    fn new(spec: &Upstream, weights: &[u32]) -> Stage {
        Stage { cluster: cluster(spec, weights), chooser: Chooser::new(7, 1), now_ms: 1_000 }
    }

    fn choose(&mut self) -> Result<usize, Nobody> {
        self.choose_but(&[])
    }

    fn choose_but(&mut self, tried: &[u32]) -> Result<usize, Nobody> {
        self.chooser.choose(&self.cluster, &Ask { key: None, tried, now_ms: self.now_ms })
    }

    fn choose_by(&mut self, key: u64) -> usize {
        let ask = Ask { key: Some(key), tried: &[], now_ms: self.now_ms };
        self.chooser.choose(&self.cluster, &ask).unwrap()
    }

    /// A request there that ends so.
    fn send(&mut self, member: usize, outcome: Outcome) -> Option<Change> {
        self.chooser.began(&self.cluster, member);
        self.chooser.ended(&self.cluster, member, outcome, self.now_ms)
    }

    fn vitals(&self, member: usize) -> &Vitals {
        self.cluster.members[member].endpoint.vitals()
    }

    /// How many of so many requests each gets, when all succeed at once.
    fn shares(&mut self, requests: usize) -> Vec<usize> {
        let mut shares = vec![0; self.cluster.members.len()];
        for _ in 0..requests {
            let member = self.choose().unwrap();
            shares[member] += 1;
            self.send(member, took(1_000));
        }
        shares
    }

    fn news(&mut self) -> Vec<(u32, Change)> {
        std::iter::from_fn(|| self.chooser.news()).map(|(endpoint, change)| (endpoint.id, change)).collect()
    }
}

fn with(balance: Balance) -> Upstream {
    Upstream { balance, ..upstream("app") }
}

fn with_breaker(breaker: Breaker) -> Upstream {
    Upstream { breaker: Some(breaker), ..upstream("app") }
}

fn with_ejection(ejection: Ejection) -> Upstream {
    Upstream { ejection: Some(ejection), ..upstream("app") }
}

#[test]
fn turns_go_round() {
    let mut stage = Stage::new(&upstream("app"), &[1, 1, 1]);
    let order: Vec<usize> = (0..6).map(|_| stage.choose().unwrap()).collect();
    assert_eq!(order[..3], order[3..]);
    assert_eq!(stage.shares(300), [100, 100, 100]);
}

#[test]
fn a_canary_gets_its_five_percent_spread_out() {
    let mut stage = Stage::new(&upstream("app"), &[95, 5]);
    let canary: Vec<usize> = (0..1_000).filter(|_| stage.choose() == Ok(1)).collect();
    assert_eq!(canary.len(), 50);
    assert!(canary.windows(2).all(|two| (19..=21).contains(&(two[1] - two[0]))), "{canary:?}");
}

#[test]
fn reactors_do_not_all_begin_with_the_same() {
    let cluster = cluster(&upstream("app"), &[1, 1, 1, 1]);
    let first = |seed| Chooser::new(seed, 8).choose(&cluster, &Ask::default()).unwrap();
    let mut firsts: Vec<usize> = (0..32).map(first).collect();
    firsts.sort_unstable();
    firsts.dedup();
    assert_eq!(firsts, [0, 1, 2, 3]);
}

#[test]
fn the_least_laden_is_chosen_and_equals_take_turns() {
    let mut stage = Stage::new(&with(Balance::Least), &[1, 1, 2]);
    for _ in 0..8 {
        let member = stage.choose().unwrap();
        stage.chooser.began(&stage.cluster, member);
    }
    let under_way = |stage: &Stage| [0, 1, 2].map(|id| stage.chooser.under_way(id));
    assert_eq!(under_way(&stage), [2, 2, 4]);
    stage.chooser.ended(&stage.cluster, 1, took(1), 1_000);
    assert_eq!(stage.choose(), Ok(1));
    let mut idle = Stage::new(&with(Balance::Least), &[95, 5]);
    assert_eq!(idle.shares(1_000), [950, 50]);
}

#[test]
fn of_two_by_chance_the_less_laden_is_chosen() {
    let mut stage = Stage::new(&with(Balance::TwoChoices), &[1, 1]);
    stage.chooser.began(&stage.cluster, 0);
    assert!((0..100).all(|_| stage.choose() == Ok(1)));
    let mut idle = Stage::new(&with(Balance::TwoChoices), &[3, 1, 1]);
    let shares = idle.shares(10_000);
    assert!(shares.iter().all(|share| *share > 1_000) && shares[0] > shares[1] + 500, "{shares:?}");
}

#[test]
fn a_key_stays_with_its_server_and_few_move_when_one_leaves() {
    let spec = with(Balance::Hash(KeyOf::Client));
    let (mut all, mut fewer) = (Stage::new(&spec, &[1; 5]), Stage::new(&spec, &[1, 1, 1, 1, 0]));
    let mut shares = [0; 5];
    for key in 0..10_000 {
        let before = all.choose_by(key);
        assert_eq!(all.choose_by(key), before);
        shares[before] += 1;
        assert!(before == 4 || fewer.choose_by(key) == before, "{key} moved for nothing");
    }
    assert!(shares.iter().all(|share| (1_800..2_200).contains(share)), "{shares:?}");
}

#[test]
fn a_request_without_a_key_goes_by_turns() {
    let mut stage = Stage::new(&with(Balance::Hash(KeyOf::Cookie("id".to_owned()))), &[1, 1]);
    assert_eq!(stage.shares(10), [5, 5]);
}

#[test]
fn weight_0_gets_nothing() {
    assert_eq!(Stage::new(&upstream("app"), &[1, 0]).shares(10), [10, 0]);
    assert_eq!(Stage::new(&upstream("app"), &[0]).choose(), Err(Nobody::AllOut));
    assert_eq!(Stage::new(&upstream("app"), &[]).choose(), Err(Nobody::AllOut));
}

#[test]
fn backups_are_asked_only_when_no_other_can_be() {
    let mut stage = Stage::new(&Upstream { health: Some(Health::default()), ..upstream("app") }, &[1, 1, 1]);
    stage.cluster.members[2].is_backup = true;
    assert_eq!(stage.shares(10), [5, 5, 0]);
    assert_eq!(stage.choose_but(&[0, 1]), Ok(2), "a retry finds it when all others were tried");
    stage.vitals(0).note_probe(false, 1, 1);
    stage.vitals(1).note_probe(false, 1, 1);
    assert_eq!(stage.shares(10), [0, 0, 10]);
    stage.vitals(0).note_probe(true, 1, 1);
    assert_eq!(stage.shares(10), [10, 0, 0]);
}

#[test]
fn a_retry_goes_elsewhere_or_nowhere() {
    let mut stage = Stage::new(&upstream("app"), &[1, 1]);
    assert!((0..10).all(|_| stage.choose_but(&[0]) == Ok(1)));
    assert_eq!(stage.choose_but(&[1, 0]), Err(Nobody::AllTried));
}

#[test]
fn a_full_server_is_passed_over_and_backups_are_no_overflow() {
    let mut stage = Stage::new(&Upstream { connections_max: Some(1), ..upstream("app") }, &[1, 1, 1]);
    stage.cluster.members[2].is_backup = true;
    stage.chooser.began(&stage.cluster, 0);
    assert!((0..4).all(|_| stage.choose() == Ok(1)));
    // The other reactor's requests count too.
    let mut other = Chooser::new(8, 2);
    other.began(&stage.cluster, 1);
    assert_eq!(stage.choose(), Err(Nobody::AllFull));
    other.ended(&stage.cluster, 1, Outcome::Abandoned, 0);
    assert_eq!(stage.choose(), Ok(1));
}

#[test]
fn when_all_are_unwell_all_are_asked_but_for_open_breakers() {
    let health = Some(Health::default());
    let mut stage = Stage::new(&Upstream { health, ..with_breaker(Breaker::default()) }, &[1, 1, 1]);
    (0..3).for_each(|member| _ = stage.vitals(member).note_probe(false, 1, 1));
    (0..5).for_each(|_| _ = stage.send(2, FAILED));
    assert_eq!(stage.vitals(2).breaker().state, BreakerState::Open);
    let shares = stage.shares(10);
    assert!(shares[0] >= 4 && shares[1] >= 4 && shares[2] == 0, "{shares:?}");
    assert_eq!(stage.choose_but(&[0, 1]), Err(Nobody::AllTried));
    stage.vitals(0).note_probe(true, 1, 1);
    assert_eq!(stage.shares(10), [10, 0, 0]);
    assert_eq!(stage.choose_but(&[0]), Err(Nobody::AllTried), "one tried is no panic");
}

#[test]
fn a_breaker_opens_by_failures_in_a_row_and_closes_by_trials() {
    let mut stage = Stage::new(&with_breaker(Breaker { probes: 2, ..Breaker::default() }), &[1]);
    assert_eq!([FAILED; 4].map(|outcome| stage.send(0, outcome)), [None; 4]);
    assert_eq!(stage.send(0, took(1)), None, "it is in a row or it is not");
    assert_eq!([FAILED; 4].map(|outcome| stage.send(0, outcome)), [None; 4]);
    let opened = Change::BreakerOpened(Reason::FailuresInRow);
    assert_eq!(stage.send(0, FAILED), Some(opened));
    assert_eq!(stage.choose(), Err(Nobody::AllOut));
    stage.now_ms += 4_999;
    assert_eq!(stage.choose(), Err(Nobody::AllOut));
    stage.now_ms += 1;
    // Two trials and no more.
    assert_eq!((stage.choose(), stage.choose(), stage.choose()), (Ok(0), Ok(0), Err(Nobody::AllOut)));
    assert_eq!(stage.news(), [(0, Change::BreakerHalfOpened)]);
    let view = stage.vitals(0).breaker();
    assert_eq!((view.state, view.since_ms), (BreakerState::HalfOpen, 6_000));
    assert_eq!(stage.send(0, took(1)), None);
    assert_eq!(stage.send(0, took(1)), Some(Change::BreakerClosed));
    assert_eq!(stage.shares(10), [10]);
}

#[test]
fn a_failed_trial_opens_the_breaker_again() {
    let mut stage = Stage::new(&with_breaker(Breaker::default()), &[1]);
    (0..5).for_each(|_| _ = stage.send(0, FAILED));
    stage.now_ms += 5_000;
    assert_eq!(stage.choose(), Ok(0));
    assert_eq!(stage.send(0, FAILED), Some(Change::BreakerOpened(Reason::TrialFailed)));
    assert_eq!(stage.choose(), Err(Nobody::AllOut));
    let expected =
        BreakerView { state: BreakerState::Open, reason: Some(Reason::TrialFailed), since_ms: 6_000 };
    assert_eq!(stage.vitals(0).breaker(), expected);
}

#[test]
fn a_breaker_opens_by_the_share_of_failures_in_its_window() {
    let breaker = Breaker { failures: 1_000, ..Breaker::default() };
    let mut stage = Stage::new(&with_breaker(breaker), &[1]);
    for _ in 0..9 {
        stage.send(0, took(1));
        assert_eq!(stage.send(0, FAILED), None);
    }
    // What is older than the window is forgotten.
    stage.now_ms += 20_000;
    for _ in 0..9 {
        stage.send(0, took(1));
        assert_eq!(stage.send(0, FAILED), None, "below the least number of requests");
    }
    stage.send(0, took(1));
    assert_eq!(stage.send(0, FAILED), Some(Change::BreakerOpened(Reason::FailureShare)));
}

#[test]
fn what_one_reactor_sees_all_obey() {
    let mut stage = Stage::new(&with_breaker(Breaker::default()), &[1, 1]);
    let mut other = Chooser::new(8, 2);
    (0..5).for_each(|_| _ = stage.send(0, FAILED));
    let ask = Ask { now_ms: stage.now_ms, ..Ask::default() };
    assert!((0..10).all(|_| other.choose(&stage.cluster, &ask) == Ok(1)));
}

#[test]
fn a_lost_permit_expires_and_its_late_end_says_nothing() {
    let mut stage = Stage::new(&with_breaker(Breaker::default()), &[1]);
    (0..5).for_each(|_| _ = stage.send(0, FAILED));
    stage.now_ms += 5_000;
    assert_eq!(stage.choose(), Ok(0));
    stage.chooser.began(&stage.cluster, 0);
    assert_eq!(stage.choose(), Err(Nobody::AllOut));
    stage.now_ms += 31_000;
    let mut other = Chooser::new(8, 2);
    let ask = Ask { now_ms: stage.now_ms, ..Ask::default() };
    assert_eq!(other.choose(&stage.cluster, &ask), Ok(0), "connect and first byte took too long");
    assert_eq!(stage.chooser.ended(&stage.cluster, 0, FAILED, stage.now_ms), None);
    assert_eq!(stage.vitals(0).breaker().state, BreakerState::HalfOpen);
    other.began(&stage.cluster, 0);
    assert_eq!(other.ended(&stage.cluster, 0, took(1), stage.now_ms), Some(Change::BreakerClosed));
}

#[test]
fn an_abandoned_trial_gives_its_permit_back() {
    let mut stage = Stage::new(&with_breaker(Breaker::default()), &[1]);
    (0..5).for_each(|_| _ = stage.send(0, FAILED));
    stage.now_ms += 5_000;
    for _ in 0..3 {
        assert_eq!(stage.choose(), Ok(0));
        assert_eq!(stage.send(0, Outcome::Abandoned), None);
    }
}

#[test]
fn a_breaker_that_is_not_wanted_any_more_lets_through() {
    let mut stage = Stage::new(&with_breaker(Breaker::default()), &[1]);
    (0..5).for_each(|_| _ = stage.send(0, FAILED));
    stage.cluster.spec.breaker = None;
    assert_eq!(stage.choose(), Ok(0));
    assert_eq!(stage.news(), [(0, Change::BreakerClosed)]);
}

#[test]
fn who_fails_five_times_in_a_row_is_let_be_longer_each_time() {
    let mut stage = Stage::new(&with_ejection(Ejection::default()), &[1, 1]);
    for ms in [10_000, 20_000, 30_000] {
        (0..4).for_each(|_| assert_eq!(stage.send(0, FAILED), None));
        let ejected = Change::Ejected(Reason::FailuresInRow, ms);
        assert_eq!(stage.send(0, FAILED), Some(ejected));
        assert_eq!(stage.send(0, FAILED), None, "a straggler");
        assert_eq!(stage.shares(4), [0, 4]);
        stage.now_ms += ms;
        assert_eq!(stage.shares(4), [2, 2]);
        assert_eq!(stage.news(), [(0, Change::Returned)]);
    }
    // Two of three are forgiven after two times ten seconds.
    stage.now_ms += 20_000;
    (0..4).for_each(|_| assert_eq!(stage.send(0, FAILED), None));
    assert_eq!(stage.send(0, FAILED), Some(Change::Ejected(Reason::FailuresInRow, 20_000)));
}

#[test]
fn no_more_are_out_than_may_be() {
    let mut stage = Stage::new(&with_ejection(Ejection::default()), &[1, 1, 1, 1, 1]);
    let mut ejected = 0;
    for member in 0..5 {
        ejected += (0..10).filter_map(|_| stage.send(member, FAILED)).count();
    }
    assert_eq!((ejected, stage.cluster.ejected()), (2, 2));
    assert_eq!(stage.shares(9), [0, 0, 3, 3, 3]);
    let mut alone = Stage::new(&with_ejection(Ejection::default()), &[1]);
    assert!((0..10).all(|_| alone.send(0, FAILED).is_none()), "the only one is never out");
}

#[test]
fn the_last_one_that_is_well_is_not_ejected() {
    let ejection = Ejection { share_max_percent: 100, ..Ejection::default() };
    let mut stage = Stage::new(&with_ejection(ejection), &[1, 1, 1]);
    stage.vitals(2).note_probe(false, 1, 1);
    let mut ejected = |member| (0..10).filter_map(|_| stage.send(member, FAILED)).count();
    assert_eq!([ejected(0), ejected(1)], [1, 0]);
}

#[test]
fn who_leaves_while_out_makes_room() {
    let spec = with_ejection(Ejection::default());
    let mut directory = Directory::new();
    let old = directory.cluster(0, &spec, &servers(&[1, 1, 1]));
    let mut stage = Stage { cluster: old, chooser: Chooser::new(7, 1), now_ms: 0 };
    (0..5).for_each(|_| _ = stage.send(2, FAILED));
    assert_eq!(stage.cluster.ejected(), 1);
    let next = directory.cluster(0, &spec, &servers(&[1, 1]));
    stage.cluster = next;
    assert_eq!(stage.cluster.ejected(), 0);
    (0..4).for_each(|_| _ = stage.send(0, FAILED));
    assert!(matches!(stage.send(0, FAILED), Some(Change::Ejected(..))));
}

#[test]
fn who_is_much_slower_than_the_others_is_let_be() {
    let mut stage =
        Stage::new(&with_ejection(Ejection { slower_than: Some(3), ..Ejection::default() }), &[1, 1, 1]);
    let mut changes = Vec::new();
    for _ in 0..100 {
        for (member, latency_us) in [(0, 2_000), (1, 3_000), (2, 30_000)] {
            changes.extend(stage.send(member, took(latency_us)).map(|change| (member, change)));
        }
    }
    assert_eq!(changes, [(2, Change::Ejected(Reason::Slow, 10_000))]);
    assert_eq!(stage.shares(10)[2], 0);
    // It returns with a clean sheet.
    stage.now_ms += 10_000;
    assert!((0..200).all(|_| stage.send(2, took(3_000)).is_none()));
}

#[test]
fn retries_are_a_share_of_the_requests_and_three_a_second() {
    let mut stage = Stage::new(&upstream("app"), &[1]);
    let spend = |stage: &mut Stage| {
        (0..10_000).filter(|_| stage.chooser.may_retry(&stage.cluster, stage.now_ms)).count()
    };
    assert_eq!(spend(&mut stage), 30);
    (0..1_000).for_each(|_| stage.chooser.note_request(&stage.cluster, stage.now_ms));
    assert_eq!(spend(&mut stage), 200);
    stage.now_ms += 9_000;
    assert_eq!(spend(&mut stage), 0);
    stage.now_ms += 1_000;
    assert_eq!(spend(&mut stage), 30, "what was not used is gone, and what was used is forgotten");
    let spec = Upstream { retries: Retries { budget_percent: 0, ..Retries::default() }, ..upstream("none") };
    assert_eq!(spend(&mut Stage::new(&spec, &[1])), 0);
}

fn balances() -> impl Strategy<Value = Balance> {
    prop::sample::select(vec![
        Balance::RoundRobin,
        Balance::Least,
        Balance::TwoChoices,
        Balance::Hash(KeyOf::Client),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn turns_keep_their_weights_in_every_window(weights in prop::collection::vec(1..100u32, 2..6)) {
        let mut stage = Stage::new(&upstream("app"), &weights);
        let total: u32 = weights.iter().sum();
        let order: Vec<usize> = (0..600).map(|_| stage.choose().unwrap()).collect();
        for (start, len) in [(0, 600), (0, 100), (37, 50), (200, 10), (333, 101), (599, 1)] {
            for (member, weight) in weights.iter().enumerate() {
                let got = order[start..start + len].iter().filter(|chosen| **chosen == member).count() as f64;
                let due = len as f64 * f64::from(*weight) / f64::from(total);
                prop_assert!((got - due).abs() <= 2.0, "{member}: {got} of {due} in {start}+{len}");
            }
        }
    }

    #[test]
    fn few_keys_move_when_servers_come_and_go(
        weights in prop::collection::vec(1..5u32, 2..8),
        gone in 0..8usize,
        keys in prop::collection::vec(any::<u64>(), 100),
    ) {
        let spec = with(Balance::Hash(KeyOf::Client));
        let gone = gone % weights.len();
        let without: Vec<u32> =
            weights.iter().enumerate().map(|(at, weight)| if at == gone { 0 } else { *weight }).collect();
        let (mut all, mut fewer) = (Stage::new(&spec, &weights), Stage::new(&spec, &without));
        for key in keys {
            let before = all.choose_by(key);
            let after = fewer.choose_by(key);
            prop_assert!(before == gone || before == after);
        }
    }

    #[test]
    fn whoever_is_chosen_may_be(
        balance in balances(),
        weights in prop::collection::vec(0..3u32, 1..6),
        unwell in prop::collection::vec(any::<bool>(), 6),
        tried in prop::collection::vec(0..6u32, 0..3),
        key in any::<Option<u64>>(),
    ) {
        let mut stage = Stage::new(&Upstream { health: Some(Health::default()), ..with(balance) }, &weights);
        for (member, is_unwell) in (0..weights.len()).zip(unwell.iter()) {
            stage.vitals(member).note_probe(!is_unwell, 1, 1);
        }
        let may = |member: &usize| weights[*member] > 0 && !tried.contains(&(*member as u32));
        let is_any_well = (0..weights.len()).any(|member| weights[member] > 0 && !unwell[member]);
        let ask = Ask { key, tried: &tried, now_ms: 0 };
        match stage.chooser.choose(&stage.cluster, &ask) {
            Ok(member) => prop_assert!(may(&member) && (!is_any_well || !unwell[member])),
            Err(Nobody::AllOut) => prop_assert!(weights.iter().all(|weight| *weight == 0)),
            Err(nobody) => {
                prop_assert_eq!(nobody, Nobody::AllTried);
                let is_left = |member: &usize| may(member) && (!is_any_well || !unwell[*member]);
                prop_assert!(!(0..weights.len()).any(|member| is_left(&member)));
            }
        }
    }
}
