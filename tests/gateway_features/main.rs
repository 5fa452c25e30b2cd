//! What a site's file promises, from end to end: the binary with a file of routes, clients before it and upstreams behind
//! it, each feature as somebody would try it who has just read of it.
//!
//! Not here: faults (`gateway_faults`), reloads (`reload`), probes (`upstream_health`).

mod choose;
#[path = "../common/mod.rs"]
mod common;
mod pass;
mod protect;
mod seen;

use common::client::Response;
use common::upstream::Gateway;
use common::upstream::{Fake, ok};
use common::{Client, eventually};

/// An upstream that says its name.
fn named(name: &str) -> Fake {
    Fake::says(ok(name))
}

/// `[upstream.NAME]` of one server, with more to be said of it.
fn upstream(name: &str, fake: &Fake, more: &str) -> String {
    format!("[upstream.{name}]\nservers = [{}]\n{more}\n", fake.url())
}

/// One request with more field lines, each ended, on a connection of its own.
fn get(gateway: &Gateway, path: &str, fields: &str) -> Response {
    let mut client = gateway.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    client.response()
}

/// Waits until a metric has that value.
fn comes_to(gateway: &Gateway, prefix: &str, value: f64) {
    eventually(&format!("{prefix} is {value}"), || gateway.metric(prefix) == value);
}

/// The metrics, in the format that this `Accept` asks for.
fn page(gateway: &Gateway, accept: &str) -> String {
    let mut client = Client::connect(&gateway.admin);
    client.send(format!("GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n"));
    client.response().text()
}
