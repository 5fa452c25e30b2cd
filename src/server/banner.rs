//! What is told when the server is ready: at most a dozen lines, each worth its place.
//!
//! A pure function of what was decided; no colours, so that it reads the same in a log.
//! What went wrong is told by [`start_error`](super::start_error).

use std::net::{IpAddr, SocketAddr};

use crate::config::site::Route;
use crate::config::units::{duration_text, grouped, size_about};
use crate::config::{Config, Endpoints, Listen, Pin, cpus_text};

use super::budget::{Bound, Budget, Tables};
use super::spread::Spread;

/// A banner never has more lines than this.
pub const LINES_MAX: usize = 12;
/// Lines of a list before it is cut short.
const ADDRESSES_MAX: usize = 3;
/// Routes that are named.
const ROUTES_MAX: usize = 6;

/// What a banner is made of.
#[derive(Clone, Copy, Debug)]
pub struct Banner<'a> {
    /// The version of the program.
    pub version: &'a str,
    /// The settings.
    pub config: &'a Config,
    /// The sums.
    pub budget: &'a Budget,
    /// Addresses as they were bound, with the ports the kernel chose.
    pub listen: &'a [Listen],
    /// The admin address as it was bound.
    pub admin: Option<&'a Listen>,
    /// The CPU of each reactor that is pinned.
    pub cpus: &'a [u32],
    /// How new connections find their reactor.
    pub spread: &'a Spread,
    /// Worker threads.
    pub workers: u32,
    /// The patterns of a program's own routes.
    pub routes: &'a [String],
    /// What else the operator should know, most important first.
    pub notes: &'a [String],
    /// From the start of the process.
    pub ready_ms: u64,
}

impl Banner<'_> {
    /// The lines, each ended.
    pub fn text(&self) -> String {
        let mut lines =
            vec![format!("myriapod {} · ready in {} ms", self.version, self.ready_ms), String::new()];
        lines.extend(self.addresses());
        lines.extend(
            self.admin
                .map(|admin| row("admin", format_args!("{}/metrics", reach(admin).trim_end_matches('/')))),
        );
        lines.push(row("reactors", format_args!("{}{}", self.reactors(), self.accept())));
        lines.extend(self.workers().map(|workers| row("workers", workers)));
        lines.push(row("descriptors", self.descriptors()));
        lines.push(row("connections", self.connections()));
        lines.extend(self.servers().map(|servers| row("servers", servers)));
        lines.push(row("memory", self.memory()));
        lines.push(row("serving", self.serving()));
        // A note may be about a fault; a hint is for those who have none.
        lines.extend(self.notes.iter().map(|note| row("note", note)));
        lines.extend(self.hint().map(|hint| row("try", hint)));
        lines.truncate(LINES_MAX);
        lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    fn addresses(&self) -> Vec<String> {
        let fits = match self.listen.len() {
            count if count > ADDRESSES_MAX => ADDRESSES_MAX - 1,
            count => count,
        };
        let mut lines: Vec<String> =
            self.listen[..fits].iter().map(|listen| row("", reach(listen))).collect();
        if self.listen.len() > fits {
            lines.push(row("", format_args!("and {} more", self.listen.len() - fits)));
        }
        if let Some(first) = self.listen.first() {
            lines[0] = row("listening", reach(first));
        }
        lines
    }

    fn reactors(&self) -> String {
        let count = self.budget.reactors;
        let mut cpus = self.cpus.to_vec();
        cpus.sort_unstable();
        cpus.dedup();
        match (&self.config.fixed.pin, cpus.as_slice()) {
            (Pin::Off, _) | (_, []) => format!("{count}, not pinned"),
            (_, [cpu]) => format!("{count}, pinned to CPU {cpu}"),
            (_, cpus) => format!("{count}, pinned to CPUs {}", cpus_text(cpus)),
        }
    }

    /// Where a reactor has its listeners for itself, nothing need be said.
    fn accept(&self) -> String {
        match self.spread {
            Spread::Single => String::new(),
            spread => format!("; {spread}"),
        }
    }

    fn workers(&self) -> Option<String> {
        let fixed = &self.config.fixed;
        let patience = match fixed.queue_ms_max {
            Some(ms) => format!("{} at most", duration_text(ms)),
            None => String::from("for as long as it takes"),
        };
        let depth = fixed.queue_depth;
        let text = || format!("{}, up to {depth} requests wait per reactor, {patience}", self.workers);
        (self.workers > 0).then(text)
    }

    fn descriptors(&self) -> String {
        let Budget { tables, reactors, descriptors_limit, reserved, .. } = self.budget;
        let kept = reserved.total();
        match tables {
            Tables::Private if *reactors > 1 => {
                format!("{descriptors_limit} in each of {reactors} private tables, {kept} of them kept back")
            }
            Tables::Private => format!("{descriptors_limit} in a private table, {kept} of them kept back"),
            Tables::Shared => format!("{descriptors_limit} in one shared table, {kept} of them kept back"),
        }
    }

    fn connections(&self) -> String {
        let why = match self.budget.bound {
            Bound::Asked => "by --max-connections",
            Bound::Descriptors => "by the descriptor limit",
            Bound::Memory => "by memory",
            Bound::Index => "by design",
        };
        format!("at most {} at once, {why}", grouped(u64::from(self.budget.connections_max)))
    }

    fn servers(&self) -> Option<String> {
        let site = &self.config.site;
        let servers: usize = site.upstreams.iter().map(|upstream| upstream.servers.len()).sum();
        let lines = grouped(u64::from(self.budget.lines_max));
        let text = || {
            let upstreams = site.upstreams.len();
            let plural = if upstreams == 1 { "" } else { "s" };
            format!("{servers} in {upstreams} upstream{plural}, at most {lines} connections to them")
        };
        (servers > 0).then(text)
    }

    fn memory(&self) -> String {
        let Budget {
            memory_idle_bytes: idle, memory_busy_bytes: busy, memory_available_bytes: there, ..
        } = *self.budget;
        let there = match there {
            u64::MAX => String::new(),
            there => format!(", {} there", size_about(there)),
        };
        format!("{} with all of them idle, {} with all busy{there}", size_about(idle), size_about(busy))
    }

    fn serving(&self) -> String {
        let fixed = &self.config.fixed;
        let built_in = match fixed.endpoints {
            Endpoints::All => "/plaintext /json /echo /healthz /readyz /metrics",
            Endpoints::Health => "/healthz /readyz",
            Endpoints::None if self.routes.is_empty() && !fixed.demo => "no endpoints",
            Endpoints::None => "",
        };
        let demo = if fixed.demo { "/work /cpu" } else { "" };
        let routes = self.routes();
        let parts = [built_in, demo, &routes].into_iter().filter(|part| !part.is_empty());
        let endpoints = parts.collect::<Vec<_>>().join(" ");
        let site = &self.config.site.routes;
        let takes_all = site.iter().any(Route::takes_everything);
        match &fixed.root {
            _ if takes_all => self.site(),
            Some(root) if !site.is_empty() => {
                format!("{}; else {} at /, and {endpoints}", self.site(), root.display())
            }
            None if !site.is_empty() => format!("{}; else {endpoints}", self.site()),
            Some(root) => format!("{} at /, and {endpoints}", root.display()),
            None if fixed.endpoints == Endpoints::All => format!("/ {endpoints}"),
            None => endpoints,
        }
    }

    /// The routes of the file.
    fn site(&self) -> String {
        let routes = &self.config.site.routes;
        let named = routes.iter().take(ROUTES_MAX).map(|route| route.name.as_str()).collect::<Vec<_>>();
        let more = match routes.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{}{more}", named.join(", "))
    }

    fn routes(&self) -> String {
        let named = &self.routes[..self.routes.len().min(ROUTES_MAX)];
        let more = match self.routes.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        named.join(" ") + &more
    }

    fn hint(&self) -> Option<String> {
        let fixed = &self.config.fixed;
        let path = match fixed.endpoints {
            _ if fixed.root.is_some() => "",
            _ if self.config.site.routes.iter().any(Route::takes_everything) => "",
            Endpoints::All => "plaintext",
            Endpoints::Health => "healthz",
            Endpoints::None => return None,
        };
        Some(match self.listen.first()? {
            Listen::Tcp(address) => format!("curl {}{path}", url(*address)),
            Listen::Unix(socket) => {
                format!("curl --unix-socket {} http://localhost/{path}", socket.display())
            }
        })
    }
}

fn row(name: &str, value: impl std::fmt::Display) -> String {
    format!("  {name:<11}  {value}")
}

/// How a client gets there.
fn reach(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) if address.ip().is_unspecified() => {
            format!("{} (every interface, {address})", url(*address))
        }
        Listen::Tcp(address) => url(*address),
        Listen::Unix(_) => listen.to_string(),
    }
}

fn url(address: SocketAddr) -> String {
    let host = match address.ip() {
        ip if ip.is_unspecified() => String::from("localhost"),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    match address.port() {
        80 => format!("http://{host}/"),
        port => format!("http://{host}:{port}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::staff_asked;
    use super::super::host::Host;
    use super::*;
    use crate::config::site::{Action, PathPattern};

    const HOST: Host = Host {
        descriptors_soft: 20_000,
        descriptors_hard: 20_000,
        nr_open: 1 << 20,
        memory_available_bytes: 8 << 30,
        cpus: 2,
    };

    fn text(config: &Config, admin: Option<&Listen>, notes: &[String]) -> String {
        text_with(config, admin, &[], notes)
    }

    fn text_with(config: &Config, admin: Option<&Listen>, routes: &[String], notes: &[String]) -> String {
        let staff = staff_asked(&HOST, config);
        let budget =
            Budget::new(&HOST, config, Tables::Private, 2).expect("room").with_workers(config, staff);
        let listen = &config.fixed.listen;
        let banner = Banner {
            version: "1.2.3",
            config,
            budget: &budget,
            listen,
            admin,
            cpus: &[0, 1],
            spread: &Spread::Hash(None),
            workers: staff.workers,
            routes,
            notes,
            ready_ms: 3,
        };
        banner.text()
    }

    #[test]
    fn tells_all_on_one_page() {
        assert_eq!(
            text(&Config::default(), None, &[]),
            "\
myriapod 1.2.3 · ready in 3 ms

  listening    http://127.0.0.1:8080/
  reactors     2, pinned to CPUs 0-1; a new client goes by the kernel's hash
  descriptors  20000 in each of 2 private tables, 21 of them kept back
  connections  at most 39 958 at once, by the descriptor limit
  memory       150 MiB with all of them idle, 931 MiB with all busy, 8.0 GiB there
  serving      / /plaintext /json /echo /healthz /readyz /metrics
  try          curl http://127.0.0.1:8080/plaintext
"
        );
    }

    #[test]
    fn tells_of_workers_where_there_are_any() {
        let mut config = Config::default();
        config.fixed.demo = true;
        let told = text(&config, None, &[]);
        for line in [
            "  workers      2, up to 1024 requests wait per reactor, 1s at most\n",
            "  memory       150 MiB with all of them idle, 1.7 GiB with all busy, 8.0 GiB there\n",
            "  serving      / /plaintext /json /echo /healthz /readyz /metrics /work /cpu\n",
        ] {
            assert!(told.contains(line), "{told}");
        }
        config.fixed.endpoints = Endpoints::None;
        config.fixed.queue_ms_max = None;
        let told = text(&config, None, &[]);
        assert!(told.contains("  serving      /work /cpu\n"), "{told}");
        assert!(told.contains("requests wait per reactor, for as long as it takes\n"), "{told}");
    }

    #[test]
    fn never_grows_beyond_a_dozen_lines() {
        let mut config = Config::default();
        config.fixed.listen = (1..20).map(|i| Listen::Unix(format!("/run/{i}.sock").into())).collect();
        config.fixed.root = Some("/srv/site".into());
        let admin = Listen::Tcp(([127, 0, 0, 1], 9090).into());
        let notes: Vec<String> = (1..9).map(|i| format!("note {i}")).collect();
        let text = text(&config, Some(&admin), &notes);
        assert_eq!(text.lines().count(), LINES_MAX, "{text}");
        for told in
            ["unix:/run/1.sock", "and 17 more", "http://127.0.0.1:9090/metrics", "/srv/site at /", "note 1\n"]
        {
            assert!(text.contains(told), "{told}: {text}");
        }
    }

    #[test]
    fn a_program_of_ones_own_sees_its_routes() {
        let mut config = Config::default();
        config.fixed.endpoints = Endpoints::None;
        let routes: Vec<String> = (1..9).map(|i| format!("/{i}")).collect();
        let told = |config: &Config, count: usize| text_with(config, None, &routes[..count], &[]);
        assert!(told(&config, 0).contains("  serving      no endpoints\n"), "{}", told(&config, 0));
        assert!(told(&config, 2).contains("  serving      /1 /2\n"), "{}", told(&config, 2));
        assert!(told(&config, 8).contains("/5 /6 and 2 more\n"), "{}", told(&config, 8));
        config.fixed.endpoints = Endpoints::Health;
        config.fixed.root = Some("/srv".into());
        assert!(told(&config, 1).contains("/srv at /, and /healthz /readyz /1\n"), "{}", told(&config, 1));
    }

    #[test]
    fn a_site_is_told_by_its_routes() {
        let route = |name: &str, path| Route {
            name: name.into(),
            hosts: Vec::new(),
            path,
            methods: None,
            fields: Vec::new(),
            action: Action::Files { root: "/srv".into(), strip: String::new() },
            steps: Vec::new(),
            body_bytes_max: None,
            line: 0,
        };
        let mut config = Config::default();
        config.fixed.endpoints = Endpoints::Health;
        config.site.routes = vec![route("/api/*", PathPattern::Prefix("/api".into()))];
        let told = text(&config, None, &[]);
        assert!(told.contains("  serving      /api/*; else /healthz /readyz\n"), "{told}");
        assert!(told.contains("  try          curl http://127.0.0.1:8080/healthz\n"), "{told}");
        config.site.routes.push(route("all", PathPattern::Prefix("/".into())));
        let told = text(&config, None, &[]);
        assert!(told.contains("  serving      /api/*, all\n"), "nothing is left for others: {told}");
        assert!(told.contains("  try          curl http://127.0.0.1:8080/\n"), "{told}");
    }

    #[test]
    fn an_address_is_a_link_that_works() {
        assert_eq!(url(([0, 0, 0, 0], 8080).into()), "http://localhost:8080/");
        assert_eq!(url("[::1]:80".parse().expect("address")), "http://[::1]/");
        let every = Listen::Tcp("[::]:1".parse().expect("address"));
        assert_eq!(reach(&every), "http://localhost:1/ (every interface, [::]:1)");
    }
}
