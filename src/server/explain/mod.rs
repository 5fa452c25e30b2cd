//! `myriapod explain`: what would become of a request, told before anybody sends it.
//!
//! The request is read by the code that reads those of clients, and its route found by the table that finds
//! theirs, so the answer is theirs. Nothing is sent, no name is looked up, and nothing is known of servers
//! that are down or busy.

mod page;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use crate::config::site::{Action, Balance, PathPattern, Route};
use crate::config::{Loaded, host_text};
use crate::gateway::site::key;
use crate::gateway::site::table::{Found, Table};
use crate::gateway::upstream::{Ask, Chooser, Directory};
use crate::gateway::{Arrival, Exchange, Notes};
use crate::http::{HeadIndex, Request};
use crate::proto::h1::head::{self, HeadScan};
use page::Page;

/// A request that nobody sends.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// As written.
    pub method: &'q str,
    /// `http://host/path?query`, or a path.
    pub url: &'q str,
    /// Names and values.
    pub headers: &'q [(String, String)],
    /// Who asks.
    pub from: IpAddr,
}

/// The page that tells it.
///
/// # Errors
/// What is wrong with the question.
pub fn explain(loaded: &Loaded, asked: &Question<'_>) -> Result<String, String> {
    let bytes = head_of(asked)?;
    let mut page = Page::new(loaded);
    page.title(asked.method, asked.url);
    let mut index = HeadIndex::default();
    let mut scan = HeadScan::default();
    match head::read(&bytes, &mut scan, &mut index, &loaded.config.limits) {
        Err(violation) => page.refused(violation),
        Ok(None) => return Err(String::from("a request ends with its head; take the line breaks out")),
        Ok(Some(())) => tell(&mut page, loaded, Request::new(&index, &bytes), asked.from)?,
    }
    Ok(page.text)
}

/// The request as a client would send it.
fn head_of(asked: &Question<'_>) -> Result<Vec<u8>, String> {
    let url = asked.url;
    let (host, target) = match url.split_once("://") {
        Some((scheme, _)) if !matches!(scheme, "http" | "https" | "ws" | "wss") => {
            return Err(format!("{scheme}:// is not spoken here; write http://HOST/PATH or /PATH"));
        }
        Some((_, rest)) => {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            (&rest[..at], &rest[at..])
        }
        None if url.starts_with('/') || url == "*" => ("localhost", url),
        None => return Err(format!("{url} is no address; write http://{url} or /{url}")),
    };
    let slash = if target.starts_with('/') || target == "*" { "" } else { "/" };
    let target = target.split('#').next().unwrap_or_default();
    let mut head = format!("{} {slash}{target} HTTP/1.1\r\n", asked.method);
    if !asked.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str(&format!("Host: {host}\r\n"));
    }
    asked.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    head.push_str("\r\n");
    Ok(head.into_bytes())
}

fn tell(page: &mut Page<'_>, loaded: &Loaded, request: Request<'_>, from: IpAddr) -> Result<(), String> {
    let site = &loaded.config.site;
    let table = Table::new(&site.routes).map_err(|mistakes| mistakes.join("\n"))?;
    let found = table.find(request.host(), request.path(), request.method(), |name| request.field(name));
    let (number, params) = match found {
        Found::Nothing => {
            page.no_route();
            let near = site.routes.iter().enumerate();
            let near = near.filter_map(|(number, route)| Some((number, route, near_miss(route, request)?)));
            near.take(NEAR_MAX).for_each(|(number, route, why)| page.near(number, route, &why));
            return Ok(());
        }
        Found::WrongMethod(methods) => {
            page.wrong_method(methods);
            return Ok(());
        }
        Found::Route { number, params } => (number, params),
    };
    let route = &site.routes[number];
    let arrival = Arrival { client: Some(from), peer: Some(from), ..Arrival::UNKNOWN };
    let mut notes = Notes::default();
    let exchange = Exchange::new(request, &mut notes).arrived(&arrival).with_params(params);
    page.route(number, route, &exchange);
    page.steps(number, route);
    page.limits(number, route);
    page.action(number, route, &exchange);
    if let Action::Proxy(proxy) = &route.action {
        page.upstream(proxy.upstream, chosen(loaded, proxy.upstream, &exchange));
    }
    Ok(())
}

/// Routes that all but took a request.
const NEAR_MAX: usize = 3;

/// What alone kept a route from taking a request; `None`: there was more.
fn near_miss(route: &Route, request: Request<'_>) -> Option<String> {
    let takes = |route: Route| {
        let table = Table::new(&[route]).ok()?;
        let found = table.find(request.host(), request.path(), request.method(), |name| request.field(name));
        matches!(found, Found::Route { .. }).then_some(())
    };
    let below = match &route.path {
        PathPattern::Pattern(path) if !path.contains('{') => Some(path.trim_end_matches('/')),
        _ => None,
    };
    if let Some(path) = below.filter(|path| !path.is_empty()) {
        let route = Route { path: PathPattern::Prefix(path.to_owned()), ..route.clone() };
        if takes(route).is_some() {
            return Some(format!("is that path alone; with what is below it is {path}/*"));
        }
    }
    if takes(Route { hosts: Vec::new(), ..route.clone() }).is_some() {
        let hosts: Vec<String> = route.hosts.iter().map(host_text).collect();
        return Some(format!("is for the host {}", hosts.join(", ")));
    }
    takes(Route { fields: Vec::new(), ..route.clone() })?;
    let fields: Vec<&str> = route.fields.iter().map(|field| field.name.as_str()).collect();
    Some(format!("wants other headers: {}", fields.join(", ")))
}

/// The server that the request's key leads to, where it is that which chooses.
fn chosen(loaded: &Loaded, upstream: usize, exchange: &Exchange<'_>) -> Option<String> {
    let spec = &loaded.config.site.upstreams[upstream];
    let Balance::Hash(_) = spec.balance else { return None };
    let key = key::of_balance(&spec.balance, exchange);
    let resolved: Vec<_> = spec.servers.iter().map(|server| (server.clone(), Vec::new())).collect();
    let cluster = Directory::new().cluster(upstream, spec, &resolved);
    // A name that nobody has looked up is no member, and the key could lead to one of its addresses.
    if key.is_none() || cluster.members.len() != spec.servers.len() {
        return None;
    }
    let place = Chooser::new(0, 1).choose(&cluster, &Ask { key, ..Ask::default() }).ok()?;
    Some(cluster.members[place].endpoint.place.to_string())
}
