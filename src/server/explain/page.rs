//! The page, row by row.

use std::fmt::Write as _;

use crate::config::site::{
    Action, Address, Algorithm, Balance, HostRule, KeyOf, KeySource, PathRule, Proxy, Route, Step, StepKind,
    Template, Upstream,
};
use crate::config::units::{duration_text, size_text};
use crate::config::{Endpoints, Loaded, host_text, params as names, path_text};
use crate::gateway::Exchange;
use crate::gateway::site::template::render;
use crate::http::MethodSet;
use crate::proto::Violation;

/// See the module.
pub(super) struct Page<'l> {
    pub text: String,
    loaded: &'l Loaded,
}

impl<'l> Page<'l> {
    pub fn new(loaded: &'l Loaded) -> Page<'l> {
        Page { text: String::new(), loaded }
    }

    pub fn title(&mut self, method: &str, url: &str) {
        let _ = writeln!(self.text, "{method} {}\n", url.escape_debug());
    }

    /// A label, what there is to say, and where it was written, if it was.
    fn row(&mut self, label: &str, told: &str, key: &str) {
        let place = match key {
            "" => String::new(),
            key => match self.loaded.key_source(key) {
                source if source == "default" => String::new(),
                source => format!("  ({source})"),
            },
        };
        let _ = writeln!(self.text, "{label:<10} {told}{place}");
    }

    pub fn refused(&mut self, violation: Violation) {
        self.row("refused", &format!("{}: {}", violation.status(), violation.label()), "");
    }

    pub fn wrong_method(&mut self, methods: MethodSet) {
        self.row("refused", "405 Method Not Allowed: routes take that path, but not that method", "");
        self.row("allowed", &methods.to_string(), "");
    }

    pub fn no_route(&mut self) {
        let fixed = &self.loaded.config.fixed;
        self.row("route", "none takes it", "");
        if let Some(root) = &fixed.root {
            self.row("then", &format!("the files under {}", root.display()), "");
        }
        match fixed.endpoints {
            Endpoints::None => {}
            which => self.row("then", &format!("the built-in endpoints: {which}"), ""),
        }
        self.row("else", "404 Not Found", "");
    }

    /// A route that all but took it.
    pub fn near(&mut self, number: usize, route: &Route, why: &str) {
        self.row("near", &format!("{}, which {why}", route.name), &format!("route[{number}].path"));
    }

    pub fn route(&mut self, number: usize, route: &Route, exchange: &Exchange<'_>) {
        let key = format!("route[{number}].path");
        self.row("route", &route.name, &key);
        let hosts: Vec<String> = route.hosts.iter().map(host_text).collect();
        let host = if hosts.is_empty() { String::from("any host") } else { hosts.join(", ") };
        self.row("", &format!("{host}, {}", path_text(&route.path)), "");
        for (at, name) in names(&route.path).into_iter().enumerate() {
            let value = exchange.params().of(exchange.path(), at).unwrap_or_default();
            self.row("", &format!("{{{name}}} is {}", value), "");
        }
    }

    pub fn steps(&mut self, number: usize, route: &Route) {
        for (at, step) in route.steps.iter().enumerate() {
            let step = &self.loaded.config.site.steps[*step];
            let label = if at == 0 { "passes" } else { "" };
            let told = format!("{}. {}: {}", at + 1, step.name, summary(step));
            self.row(label, &told, &format!("middleware.{}.{}", step.name, kind_name(&step.kind)));
        }
        if route.steps.is_empty() {
            self.row("passes", "nothing", &format!("route[{number}].use"));
        }
    }

    pub fn limits(&mut self, number: usize, route: &Route) {
        let bytes = route.body_bytes_max.unwrap_or(self.loaded.config.limits.body_bytes_max);
        self.row("body", &format!("up to {}", size_text(bytes)), &format!("route[{number}].max-body"));
    }

    pub fn action(&mut self, number: usize, route: &Route, exchange: &Exchange<'_>) {
        let key = |name: &str| format!("route[{number}].{name}");
        match &route.action {
            Action::Respond(reply) => {
                let told = format!("{}, {} bytes of {}", reply.status, reply.body.len(), reply.content_type);
                self.row("answer", &told, &key("respond"));
            }
            Action::Redirect { status, to } => {
                self.row("answer", &format!("{status}, to {}", filled(to, exchange)), &key("redirect"));
            }
            Action::Files { root, strip } => {
                self.row("files", &root.display().to_string(), &key("files"));
                if !strip.is_empty() {
                    self.row("path", &format!("without {strip}"), &key("strip-prefix"));
                }
            }
            Action::Proxy(proxy) => self.proxy(number, proxy, exchange),
        }
    }

    fn proxy(&mut self, number: usize, proxy: &Proxy, exchange: &Exchange<'_>) {
        let key = |name: &str| format!("route[{number}].{name}");
        let upstream = &self.loaded.config.site.upstreams[proxy.upstream];
        self.row("goes to", &format!("upstream {}", upstream.name), &key("proxy"));
        match &proxy.path {
            PathRule::Keep => self.row("path", "as it is", ""),
            PathRule::Strip(prefix) => self.row("path", &format!("without {prefix}"), &key("strip-prefix")),
            PathRule::Rewrite(to) => self.row("path", &filled(to, exchange), &key("rewrite")),
        }
        let host = match &proxy.host {
            HostRule::Keep => "as the client says",
            HostRule::Server => "the server's",
            HostRule::Set(host) => host,
        };
        self.row("host", host, &key("host-header"));
        let upgrades = if proxy.upgrades { "may switch, as WebSocket" } else { "HTTP and nothing else" };
        self.row("protocol", upgrades, &key("upgrades"));
    }

    /// `chosen` is the server where it is the request that decides.
    pub fn upstream(&mut self, number: usize, chosen: Option<String>) {
        let upstream = &self.loaded.config.site.upstreams[number];
        let key = |name: &str| format!("upstream.{}.{name}", upstream.name);
        self.row("server", &how_chosen(&upstream.balance), &key("balance"));
        let weights: u32 =
            upstream.servers.iter().filter(|server| !server.is_backup).map(|server| server.weight).sum();
        for server in &upstream.servers {
            let is_chosen = chosen.as_ref() == Some(&server.address.to_string());
            let what = match (&chosen, server.is_backup, &upstream.balance) {
                (_, true, _) => String::from("  only when all others are out"),
                (Some(_), _, _) if is_chosen => String::from("  <- this one"),
                (Some(_), ..) => String::new(),
                (None, ..) => format!("  {} %", share(server.weight, weights)),
            };
            self.row("", &format!("{}{what}", server.address), "");
        }
        let has_names = upstream.servers.iter().any(|server| matches!(server.address, Address::Name(..)));
        if has_names {
            self.row("", "(names are not looked up here)", "");
        }
        self.patience(upstream);
    }

    fn patience(&mut self, upstream: &Upstream) {
        let timeouts = &upstream.timeouts;
        let told = format!(
            "connect {}, first byte {}, between bytes {}, with retries {}",
            duration_text(timeouts.connect_ms_max),
            duration_text(timeouts.first_byte_ms_max),
            duration_text(timeouts.idle_ms_max),
            duration_text(timeouts.request_ms_max),
        );
        self.row("waits", &told, "");
        let retries = &upstream.retries;
        let told = match retries.count_max {
            0 => String::from("none"),
            count => format!("up to {count}, while below {} % of requests", retries.budget_percent),
        };
        self.row("retries", &told, &format!("upstream.{}.retries", upstream.name));
    }
}

fn filled(template: &Template, exchange: &Exchange<'_>) -> String {
    String::from_utf8_lossy(&render(template, exchange)).into_owned()
}

fn share(weight: u32, of: u32) -> u32 {
    (u64::from(weight) * 100 / u64::from(of.max(1))) as u32
}

fn how_chosen(balance: &Balance) -> String {
    match balance {
        Balance::RoundRobin => String::from("in turn, by weight"),
        Balance::Least => String::from("the one with the fewest requests under way, by weight"),
        Balance::TwoChoices => String::from("of two by chance the one with fewer requests under way"),
        Balance::Hash(by) => format!("the same for the same {}", key_text(by)),
    }
}

fn key_text(key: &KeyOf) -> String {
    match key {
        KeyOf::Client => String::from("client"),
        KeyOf::Everybody => String::from("site"),
        KeyOf::Header(name) => format!("header {name}"),
        KeyOf::Cookie(name) => format!("cookie {name}"),
        KeyOf::Claim(name) => format!("claim {name}"),
    }
}

/// The key of the file that says what it does.
fn kind_name(kind: &StepKind) -> &'static str {
    match kind {
        StepKind::RateLimit(_) => "rate-limit",
        StepKind::Concurrency(_) => "concurrency",
        StepKind::Access { .. } => "access",
        StepKind::Jwt(_) => "jwt",
        StepKind::Basic(_) => "basic",
        StepKind::Fields { .. } => "headers",
        StepKind::RequestId => "request-id",
        StepKind::Trace => "trace",
        StepKind::Cors { .. } => "cors",
        StepKind::SecureFields => "secure-headers",
    }
}

/// What it does, in a few words; no secret is among them.
fn summary(step: &Step) -> String {
    match &step.kind {
        StepKind::RateLimit(limit) => format!(
            "{} requests in {} for each {}, {} at once",
            limit.requests,
            duration_text(limit.per_ms),
            key_text(&limit.by),
            limit.burst,
        ),
        StepKind::Concurrency(limit) => {
            format!("{} requests under way for each {}", limit.requests, key_text(&limit.by))
        }
        StepKind::Access { allow, deny } => {
            let all = if allow.is_empty() { String::from("all") } else { format!("{} ranges", allow.len()) };
            format!("lets in {all}, but {} denied ranges", deny.len())
        }
        StepKind::Jwt(rules) => {
            let keys: Vec<&str> = rules.keys.iter().map(key_kind).collect();
            format!("a token signed by {}", keys.join(" or "))
        }
        StepKind::Basic(rules) => format!("a password of {} users", rules.users.len()),
        StepKind::Fields { request, response } => {
            format!("{} changes of the request, {} of the answer", request.len(), response.len())
        }
        StepKind::RequestId => String::from("a name for the request"),
        StepKind::Trace => String::from("a trace begun or continued"),
        StepKind::Cors { origins } => format!("pages of {}", origins.join(", ")),
        StepKind::SecureFields => String::from("fields that make browsers careful"),
    }
}

fn key_kind(key: &KeySource) -> &'static str {
    match key {
        KeySource::Jwks(_) => "a key of the JWKS file",
        KeySource::Local { algorithm: Algorithm::Hs256, .. } => "HS256",
        KeySource::Local { algorithm: Algorithm::Rs256, .. } => "RS256",
        KeySource::Local { algorithm: Algorithm::Es256, .. } => "ES256",
        KeySource::Local { algorithm: Algorithm::EdDsa, .. } => "EdDSA",
    }
}
