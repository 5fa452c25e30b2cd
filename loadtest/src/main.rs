//! `myriapod-load`: drives HTTP/1.1 servers and measures them honestly.

#[expect(dead_code, reason = "the engine that records comes next")]
mod latency;
#[expect(dead_code, reason = "the modes that fill it come next")]
mod report;

fn main() {}
