//! Who is who among servers, over reloads: the same address of the same upstream stays the same endpoint.
//!
//! Belongs to whoever builds sites; nobody asks it while requests are served.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use super::ejection::Pool;
use super::vitals::Vitals;
use super::{Cluster, Endpoint, Member, Place, balance};
use crate::config::site::{Address, ServerSpec, Upstream};
use crate::observe::site::{PerReactor, RouteSeries, ServerTally, UpstreamTally};

/// What may refuse a route's requests, by name.
type Refusers = Box<[Box<str>]>;

/// See the module.
#[derive(Default)]
pub struct Directory {
    /// By the upstream's name.
    pools: Register<String, Pool>,
    /// By upstream, place and name.
    endpoints: Register<(u32, Place, Box<str>), Endpoint>,
    /// What is counted of upstreams, by name, and of routes, by name and what may refuse their requests.
    upstreams: Register<String, PerReactor<UpstreamTally>>,
    routes: Register<(Box<str>, Refusers), RouteSeries>,
    reactors: u32,
}

impl Directory {
    /// One that knows nobody.
    #[must_use]
    pub fn new() -> Directory {
        Directory::default()
    }

    /// Says how many reactors count. To be said before anything is asked for.
    #[must_use]
    pub fn for_reactors(self, reactors: u32) -> Directory {
        Directory { reactors, ..self }
    }

    /// What is counted of a route.
    pub fn route(&mut self, name: &str, refusers: Box<[Box<str>]>) -> Arc<RouteSeries> {
        self.routes.forget_the_gone();
        let reactors = self.reactors;
        self.routes.entry((name.into(), refusers.clone()), |_, _| RouteSeries::new(name, &refusers, reactors))
    }

    /// An upstream with its servers as they were looked up. Of sockets, what was looked up does not matter.
    /// Every address of a name has the weight of that name; an address that comes up twice is one member
    /// with both weights.
    pub fn cluster(
        &mut self,
        number: usize,
        spec: &Upstream,
        resolved: &[(ServerSpec, Vec<SocketAddr>)],
    ) -> Cluster {
        self.endpoints.forget_the_gone();
        self.pools.forget_the_gone();
        let pool = self.pools.entry(spec.name.clone(), Pool::new);
        let mut members: Vec<Member> = Vec::with_capacity(resolved.len());
        for (server, addresses) in resolved {
            for place in places(&server.address, addresses) {
                add(&mut members, self.endpoint(&spec.name, &pool, place, name(&server.address)), server);
            }
        }
        self.upstreams.forget_the_gone();
        let reactors = self.reactors;
        let make = |_, _| PerReactor::new(reactors, UpstreamTally::default);
        let tallies = self.upstreams.entry(spec.name.clone(), make);
        Cluster { number, spec: spec.clone(), members, tallies, pool }
    }

    fn endpoint(&mut self, upstream: &str, pool: &Arc<Pool>, place: Place, name: Box<str>) -> Arc<Endpoint> {
        let label = place.to_string();
        let reactors = self.reactors;
        self.endpoints.entry((pool.id, place.clone(), name.clone()), |id, serial| Endpoint {
            id,
            place,
            point: balance::point(&label, &name),
            name,
            label: label.into(),
            upstream: upstream.into(),
            serial,
            pool: Arc::clone(pool),
            vitals: Vitals::default(),
            // One more is for who probes.
            tallies: PerReactor::new(reactors + 1, ServerTally::default),
        })
    }
}

/// Those that somebody else owns, each with a small number of its own.
struct Register<K, T> {
    known: HashMap<K, (u32, Weak<T>)>,
    free: Vec<u32>,
    /// Numbers from here on were never given out.
    end: u32,
    /// Given out so far.
    serial: u64,
}

impl<K, T> Default for Register<K, T> {
    fn default() -> Register<K, T> {
        Register { known: HashMap::new(), free: Vec::new(), end: 0, serial: 0 }
    }
}

impl<K: Hash + Eq, T> Register<K, T> {
    /// Numbers of those that nobody owns any more can be given to others.
    fn forget_the_gone(&mut self) {
        let free = &mut self.free;
        self.known.retain(|_, (id, one)| {
            let is_there = one.strong_count() > 0;
            if !is_there {
                free.push(*id);
            }
            is_there
        });
    }

    /// Whoever is known by that key, or a new one of this number and serial.
    fn entry(&mut self, key: K, make: impl FnOnce(u32, u64) -> T) -> Arc<T> {
        let known = self.known.get(&key);
        if let Some(one) = known.and_then(|(_, one)| one.upgrade()) {
            return one;
        }
        // One that went just now has left its number here.
        let id = known.map(|(id, _)| *id).or_else(|| self.free.pop()).unwrap_or_else(|| {
            self.end += 1;
            self.end - 1
        });
        self.serial += 1;
        let one = Arc::new(make(id, self.serial));
        self.known.insert(key, (id, Arc::downgrade(&one)));
        one
    }
}

fn places(address: &Address, looked_up: &[SocketAddr]) -> Vec<Place> {
    match address {
        Address::Socket(address) => vec![Place::Socket(*address)],
        Address::Name(..) => looked_up.iter().map(|address| Place::Socket(*address)).collect(),
        Address::Unix(path) => vec![Place::Unix(path.clone())],
    }
}

/// What `Host` says. A unix socket has no name; nginx says `localhost` too.
fn name(address: &Address) -> Box<str> {
    match address {
        Address::Socket(SocketAddr::V4(address)) if address.port() == 80 => address.ip().to_string().into(),
        Address::Socket(SocketAddr::V6(address)) if address.port() == 80 => {
            format!("[{}]", address.ip()).into()
        }
        Address::Socket(address) => address.to_string().into(),
        Address::Name(host, 80) => host.as_str().into(),
        Address::Name(host, port) => format!("{host}:{port}").into(),
        Address::Unix(_) => "localhost".into(),
    }
}

fn add(members: &mut Vec<Member>, endpoint: Arc<Endpoint>, server: &ServerSpec) {
    let known = members.iter_mut().find(|member| Arc::ptr_eq(&member.endpoint, &endpoint));
    match known {
        Some(member) => {
            member.weight = member.weight.saturating_add(server.weight);
            member.is_backup &= server.is_backup;
        }
        None => members.push(Member { endpoint, weight: server.weight, is_backup: server.is_backup }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn ids(cluster: &Cluster) -> Vec<u32> {
        cluster.members.iter().map(|member| member.endpoint.id).collect()
    }

    fn of_name(addresses: &[&str]) -> Vec<(ServerSpec, Vec<SocketAddr>)> {
        let address = Address::Name("app.internal".to_owned(), 8080);
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        vec![(ServerSpec { address, weight: 1, is_backup: false }, addresses)]
    }

    #[test]
    fn the_same_server_stays_the_same_over_reloads() {
        let mut directory = Directory::new();
        let before = directory.cluster(0, &upstream("app"), &servers(&[1, 1]));
        before.members[1].endpoint.vitals().note_probe(false, 1, 1);
        let after = directory.cluster(0, &upstream("app"), &servers(&[1, 1, 1]));
        drop(before);
        assert_eq!(ids(&after), [0, 1, 2]);
        let unwell = after.members.iter().map(|member| member.endpoint.vitals().is_unwell());
        assert_eq!(unwell.collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn a_number_is_given_again_when_nobody_knows_its_owner() {
        let mut directory = Directory::new();
        let old = directory.cluster(0, &upstream("app"), &servers(&[1, 1]));
        let kept = Arc::clone(&old.members[0].endpoint);
        let serials = (old.members[0].endpoint.serial, old.members[1].endpoint.serial);
        drop(old);
        let next = directory.cluster(0, &upstream("other"), &servers(&[1, 1]));
        assert!(!ids(&next).contains(&kept.id) && ids(&next).contains(&1));
        assert!(next.members.iter().all(|member| member.endpoint.serial > serials.1));
    }

    #[test]
    fn upstreams_do_not_share_what_they_know_of_an_address() {
        let mut directory = Directory::new();
        let one = directory.cluster(0, &upstream("one"), &servers(&[1]));
        let two = directory.cluster(1, &upstream("two"), &servers(&[1]));
        assert_ne!(ids(&one), ids(&two));
        assert_ne!(one.pool.id, two.pool.id);
    }

    #[test]
    fn a_name_is_all_its_addresses_and_keeps_its_host() {
        let mut directory = Directory::new();
        let looked_up = of_name(&["192.0.2.1:8080", "192.0.2.2:8080", "192.0.2.1:8080"]);
        let cluster = directory.cluster(0, &upstream("app"), &looked_up);
        let seen = cluster
            .members
            .iter()
            .map(|member| (&*member.endpoint.name, &*member.endpoint.label, member.weight, member.is_backup));
        assert_eq!(
            seen.collect::<Vec<_>>(),
            [
                ("app.internal:8080", "192.0.2.1:8080", 2, false),
                ("app.internal:8080", "192.0.2.2:8080", 1, false)
            ]
        );
    }

    #[test]
    fn host_leaves_port_80_unsaid() {
        let socket = |text: &str| Address::Socket(text.parse().unwrap());
        assert_eq!(&*name(&socket("192.0.2.1:80")), "192.0.2.1");
        assert_eq!(&*name(&socket("[::1]:80")), "[::1]");
        assert_eq!(&*name(&socket("[::1]:81")), "[::1]:81");
        assert_eq!(&*name(&Address::Name("a.example".to_owned(), 80)), "a.example");
        assert_eq!(&*name(&Address::Unix("/run/app.sock".into())), "localhost");
        assert_eq!(Place::Unix("/run/app.sock".into()).to_string(), "unix:/run/app.sock");
    }
}
