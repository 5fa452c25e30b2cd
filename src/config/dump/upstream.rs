//! Upstreams, as [`file`](crate::config::file) reads them.

use super::page::{Page, array, key, quoted, table};
use crate::config::site::{
    Action, Balance, Breaker, Ejection, Fallback, FixedReply, Health, KeyOf, ServerSpec, Site, Upstream,
};
use crate::config::units::duration_text;

pub(super) fn write_all(page: &mut Page<'_>, site: &Site) {
    for (place, upstream) in site.upstreams.iter().enumerate() {
        let prefix = format!("upstream.{}", upstream.name);
        page.section(&prefix, &format!("[upstream.{}]", key(&upstream.name)));
        if let Some(source) = route_of(page, site, place) {
            page.made_by(source);
        }
        page.made_row("servers", &array(upstream.servers.iter().map(server)));
        choice(page, upstream);
        patience(page, upstream);
        page.row("health", &upstream.health.as_ref().map_or_else(off, health));
        page.row("eject", &upstream.ejection.as_ref().map_or_else(off, ejection));
        page.row("breaker", &upstream.breaker.as_ref().map_or_else(off, breaker));
        page.optional("fallback", upstream.fallback.as_ref().map(|fallback| self::fallback(fallback, site)));
    }
}

fn off() -> String {
    String::from("false")
}

fn duration(ms: u32) -> String {
    quoted(&duration_text(ms))
}

fn percent(share: u32) -> String {
    format!("\"{share}%\"")
}

/// Where the first route stands that names a server and no upstream.
fn route_of(page: &Page<'_>, site: &Site, upstream: usize) -> Option<String> {
    let is_to = |action: &Action| matches!(action, Action::Proxy(proxy) if proxy.upstream == upstream);
    let place = site.routes.iter().position(|route| is_to(&route.action))?;
    Some(super::route::source(page, &site.routes[place], place, "proxy"))
}

fn server(server: &ServerSpec) -> String {
    let url = match &server.address {
        crate::config::site::Address::Unix(_) => server.address.to_string(),
        address => format!("http://{address}"),
    };
    match (server.weight, server.is_backup) {
        (1, false) => quoted(&url),
        (weight, is_backup) => {
            table([("url", quoted(&url)), ("weight", weight.to_string()), ("backup", is_backup.to_string())])
        }
    }
}

/// What is counted or chosen by, as it is written.
pub(super) fn key_text(key: &KeyOf) -> String {
    match key {
        KeyOf::Client => String::from("client"),
        KeyOf::Everybody => String::from("everybody"),
        KeyOf::Header(name) => format!("header:{name}"),
        KeyOf::Cookie(name) => format!("cookie:{name}"),
        KeyOf::Claim(name) => format!("claim:{name}"),
    }
}

fn choice(page: &mut Page<'_>, upstream: &Upstream) {
    let balance = match &upstream.balance {
        Balance::RoundRobin => "round-robin",
        Balance::Least => "least",
        Balance::TwoChoices => "two-choices",
        Balance::Hash(_) => "hash",
    };
    page.row("balance", &quoted(balance));
    if let Balance::Hash(by) = &upstream.balance {
        page.row("hash-by", &quoted(&key_text(by)));
    }
    page.row("retries", &upstream.retries.count_max.to_string());
    page.row("retry-budget", &percent(upstream.retries.budget_percent));
    page.row("retry-backoff", &duration(upstream.retries.backoff_ms));
    page.row("keep-alive", &upstream.idle_max.to_string());
    page.row("keep-alive-timeout", &duration(upstream.idle_ms_max));
    page.optional("max-connections", upstream.connections_max.map(|count| count.to_string()));
    page.row("queue-timeout", &duration(upstream.queue_ms_max));
    page.row("resolve-interval", &duration(upstream.resolve_ms));
}

fn patience(page: &mut Page<'_>, upstream: &Upstream) {
    let timeouts = &upstream.timeouts;
    page.row("connect-timeout", &duration(timeouts.connect_ms_max));
    page.row("first-byte-timeout", &duration(timeouts.first_byte_ms_max));
    page.row("idle-timeout", &duration(timeouts.idle_ms_max));
    page.row("request-timeout", &duration(timeouts.request_ms_max));
    page.row("total-timeout", &timeouts.total_ms_max.map_or_else(|| quoted("off"), duration));
    page.row("tunnel-timeout", &duration(timeouts.tunnel_ms_max));
}

fn health(health: &Health) -> String {
    let range = |(first, last): &(u16, u16)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let statuses: Vec<String> = health.statuses.iter().map(range).collect();
    let mut rows = vec![
        ("path", quoted(&health.path)),
        ("status", quoted(&statuses.join(","))),
        ("interval", duration(health.interval_ms)),
        ("timeout", duration(health.timeout_ms)),
        ("rise", health.rise.to_string()),
        ("fall", health.fall.to_string()),
    ];
    rows.extend(health.host.as_ref().map(|host| ("host", quoted(host))));
    table(rows)
}

fn ejection(ejection: &Ejection) -> String {
    let mut rows = vec![
        ("failures", ejection.failures.to_string()),
        ("time", duration(ejection.ms)),
        ("max", percent(ejection.share_max_percent)),
    ];
    rows.extend(ejection.slower_than.map(|times| ("slower-than", times.to_string())));
    table(rows)
}

fn breaker(breaker: &Breaker) -> String {
    table([
        ("failures", breaker.failures.to_string()),
        ("share", percent(breaker.share_percent)),
        ("requests", breaker.requests_min.to_string()),
        ("window", duration(breaker.window_ms)),
        ("open", duration(breaker.open_ms)),
        ("probes", breaker.probes.to_string()),
    ])
}

fn fallback(fallback: &Fallback, site: &Site) -> String {
    match fallback {
        Fallback::Respond(reply) => self::reply(reply),
        Fallback::File { path, status } => {
            table([("file", quoted(&path.display().to_string())), ("status", status.code().to_string())])
        }
        Fallback::Upstream(place) => table([("upstream", quoted(&site.upstreams[*place].name))]),
    }
}

/// An answer that is written in the file.
pub(super) fn reply(reply: &FixedReply) -> String {
    table([
        ("status", reply.status.code().to_string()),
        ("content-type", quoted(&reply.content_type)),
        ("body", quoted(&String::from_utf8_lossy(&reply.body))),
    ])
}
