//! A connection's bytes come to the same answers however they are cut, and to no more than their share.
#![no_main]

mod cuts;
#[path = "../../tests/machine/exchange.rs"]
mod exchange;

use libfuzzer_sys::fuzz_target;

/// The shortest request is 18 bytes, and its answer with date, server and body below 200.
const GROWTH_MAX: usize = 16;

fuzz_target!(|data: &[u8]| {
    let Some((seed, bytes)) = cuts::split(data) else { return };
    let limits = exchange::limits();
    let whole = exchange::run([bytes], &limits);
    let cut = exchange::run(cuts::parts(seed, bytes), &limits);
    if let Err(text) = exchange::agree(&whole, &cut) {
        panic!("{text}");
    }
    assert!(whole.sent.len() + whole.refusal.len() <= GROWTH_MAX * bytes.len() + 512);
});
