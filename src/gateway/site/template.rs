//! Stub.
use crate::config::site::Template;
use crate::gateway::Exchange;
pub fn render(_: &Template, _: &Exchange<'_>) -> Vec<u8> {
    Vec::new()
}
