//! What do limits and tokens cost a request, and is it worth remembering tokens whose signature was good?
//!
//! `token/*/verified` checks the signature each time, `token/*/seen` finds the token known. The tokens are
//! those that RFC 7515 prints.

use std::hint::black_box;
use std::net::IpAddr;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use myriapod::config::Cidr;
use myriapod::config::site::{KeyOf, RateLimit as Limit};
use myriapod::gateway::guard::counts::{Counted, Counts};
use myriapod::gateway::guard::jwt::jwks;
use myriapod::gateway::guard::jwt::keys::KeySet;
use myriapod::gateway::guard::jwt::seen::Seen;
use myriapod::gateway::guard::jwt::token::{Rules, judge};
use myriapod::gateway::guard::passwords::Hash;
use myriapod::gateway::guard::rate::{Rate, RateTable};
use myriapod::gateway::guard::{Ranges, RateLimit, Secret};
use myriapod::gateway::{Arrival, Exchange, Notes};
use myriapod::http::{HeadIndex, Request};
use myriapod::middleware::Middleware;

const PAYLOAD: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const EXPIRES: u64 = 1_300_819_380;

const JWKS: &str = r#"{"keys":[
    {"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"},
    {"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"},
    {"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

const TOKENS: [(&str, &str, &str); 3] = [
    ("hs256", "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
    (
        "rs256",
        "eyJhbGciOiJSUzI1NiJ9",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    ),
    (
        "es256",
        "eyJhbGciOiJFUzI1NiJ9",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    ),
];

fn client(number: u32) -> Option<IpAddr> {
    Some(IpAddr::from(number.to_be_bytes()))
}

/// Each with as many clients as a busy table has, so that the sets are not all at hand.
fn limits(criterion: &mut Criterion) {
    const CLIENTS: u32 = 50_000;
    let limit =
        Limit { requests: 1_000_000, per_ms: 1_000, burst: 100, by: KeyOf::Client, keys_max: 100_000 };
    let secret = Secret::of(7);
    let table = std::sync::Arc::new(RateTable::new(Rate::from(&limit), limit.keys_max));
    let counts = Counts::new(limit.keys_max);
    let mut group = criterion.benchmark_group("limit");
    let mut number = 0;
    let mut next = move || {
        number = (number + 7_919) % CLIENTS;
        number
    };
    group.bench_function("key", |bencher| bencher.iter(|| secret.client(black_box(client(next())))));
    group.bench_function("take", |bencher| {
        let mut now_ns = 0;
        bencher.iter(|| {
            now_ns += 1_000;
            table.take(secret.client(client(next())), now_ns).is_passed
        });
    });
    group.bench_function("rate-enter", |bencher| {
        let middleware = RateLimit::new("a", &limit, std::sync::Arc::clone(&table), secret);
        let (index, mut notes) = (HeadIndex::default(), Notes::default());
        let mut arrival = Arrival::UNKNOWN;
        bencher.iter(|| {
            arrival = Arrival { client: client(next()), now_ns: arrival.now_ns + 1_000, ..arrival };
            notes.clear();
            let request = Request::new(&index, b"");
            middleware.enter(&mut Exchange::new(request, &mut notes).arrived(&arrival))
        });
    });
    group.bench_function("enter-and-leave", |bencher| {
        bencher.iter(|| match counts.enter(secret.client(client(next())), 10) {
            Counted::In(seat) => counts.leave(seat),
            _ => panic!("nobody else is in"),
        });
    });
    group.finish();
}

fn access(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("access");
    for count in [4, 32, 1_000_u32] {
        let list: Vec<Cidr> =
            (0..count).map(|n| format!("10.{}.{}.0/25", n >> 8, n & 255).parse().expect("a range")).collect();
        let ranges = Ranges::of(&list);
        let address = IpAddr::from([10, 0, 3, 200]);
        group.bench_function(format!("halves/{count}"), |bencher| {
            bencher.iter(|| ranges.contains(black_box(address)));
        });
        group.bench_function(format!("each/{count}"), |bencher| {
            bencher.iter(|| list.iter().any(|range| range.contains(black_box(address))));
        });
    }
    group.finish();
}

fn tokens(criterion: &mut Criterion) {
    let keys = KeySet::new(jwks::keys(JWKS.as_bytes()).expect("a set")).expect("keys");
    let rules = Rules { issuer: Some("joe".into()), ..Rules::default() };
    let mut group = criterion.benchmark_group("token");
    for (name, head, signature) in TOKENS {
        let token = format!("{head}.{PAYLOAD}.{signature}");
        for (way, seen) in [("verified", Seen::new(0)), ("seen", Seen::new(100))] {
            group.bench_function(format!("{name}/{way}"), |bencher| {
                bencher
                    .iter(|| judge(black_box(token.as_bytes()), &keys, &seen, &rules, EXPIRES - 1).is_ok());
            });
        }
    }
    group.finish();
}

/// What [`Hash::cost_us`] claims.
fn passwords(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("password");
    group.sample_size(10);
    for (name, text) in [
        ("bcrypt-5", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        ("bcrypt-8", "$2b$08$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        (
            "argon2id-19-MiB-2",
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI",
        ),
    ] {
        let hash = Hash::of(text).expect("a hash");
        group.bench_function(format!("{name}, said to take {} us", hash.cost_us()), |bencher| {
            bencher.iter_batched(|| (), |()| hash.verifies(black_box(b"wrong")), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, limits, access, tokens, passwords);
criterion_main!(benches);
