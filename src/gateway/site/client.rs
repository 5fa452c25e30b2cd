//! Stub.
use crate::config::site::Trust;
use crate::http::Request;
use std::net::IpAddr;
pub fn of(peer: Option<IpAddr>, _: &Request<'_>, _: &Trust) -> (Option<IpAddr>, bool) {
    (peer, false)
}
