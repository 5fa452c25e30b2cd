//! An upstream's bytes come to the same answer however they are cut, and to what a slow and simple reader finds.
#![no_main]

#[path = "../../tests/upstream_wire/answer.rs"]
mod answer;
mod cuts;

use libfuzzer_sys::fuzz_target;
use myriapod::http::Method;

fuzz_target!(|data: &[u8]| {
    let Some((seed, bytes)) = cuts::split(data) else { return };
    let method = if seed & 1 == 0 { Method::Get } else { Method::Head };
    let upgrades = seed & 2 == 0;
    let whole = answer::read([bytes], method, upgrades);
    assert_eq!(whole.as_ref().ok(), answer::simple(bytes, method, upgrades).as_ref(), "{whole:?}");
    let cut = answer::read(cuts::parts(seed >> 2, bytes), method, upgrades);
    if let Err(text) = answer::agree(&whole, &cut) {
        panic!("{text}");
    }
});
