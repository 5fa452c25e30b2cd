//! Limits, tokens, passwords, addresses, sizes: who is let in, who is not, and what either side hears of it.

use myriapod::base::base64::{Alphabet, encode};
use ring::hmac;

use super::common::client::Response;
use super::common::upstream::{Fake, Gateway};
use super::{comes_to, get, named, upstream};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// `{"sub":"ada"}` and the like, signed with that secret.
fn token(secret: &str, claims: &str) -> String {
    let part = |text: &str| encode(text.as_bytes(), Alphabet::Url);
    let signed = format!("{}.{}", part(r#"{"alg":"HS256","typ":"JWT"}"#), part(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = encode(hmac::sign(&key, signed.as_bytes()).as_ref(), Alphabet::Url);
    format!("{signed}.{signature}")
}

/// A pool behind one middleware of the name `guard`.
fn guarded(fake: &Fake, middleware: &str) -> Gateway {
    let pool = upstream("pool", fake, "");
    let route = "[[route]]\nname = \"all\"\npath = \"/*\"\nproxy = \"pool\"\nuse = \"guard\"\n";
    Gateway::start(&format!("[middleware.guard]\n{middleware}\n{pool}{route}"))
}

fn refusals(gateway: &Gateway, step: &str, count: f64) {
    comes_to(gateway, &format!("myriapod_route_refusals_total{{route=\"all\",step=\"{step}\"}}"), count);
}

fn bearer(gateway: &Gateway, token: &str) -> Response {
    get(gateway, "/", &format!("Authorization: Bearer {token}\r\nX-User: root\r\nx-user: admin\r\n"))
}

#[test]
fn who_asks_too_often_is_told_when_to_come_back() {
    let fake = named("hello");
    let gateway = guarded(&fake, "rate-limit = { requests = 2, per = \"1m\", by = \"header:x-key\" }");
    let mut client = gateway.connect();
    let mut ask = |key: &str| {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Key: {key}\r\n\r\n"));
        client.response()
    };
    for left in ["1", "0"] {
        let response = ask("a");
        assert_eq!(response.status, 200);
        assert_eq!(response.field("ratelimit-policy"), Some("\"guard\";q=2;w=60"));
        let stand = response.field("ratelimit").expect("where it stands");
        assert!(stand.starts_with(&format!("\"guard\";r={left};t=")), "{stand}");
    }
    let response = ask("a");
    assert_eq!(response.status, 429);
    let wait_s: u32 = response.field("retry-after").expect("when").parse().expect("seconds");
    assert!((25..=31).contains(&wait_s), "a token comes every thirty seconds: {wait_s}");
    assert!(response.field("ratelimit").is_some_and(|stand| stand.starts_with("\"guard\";r=0;t=")));
    assert_eq!(ask("b").status, 200, "another key has a bucket of its own");
    refusals(&gateway, "guard", 1.0);
    comes_to(&gateway, "myriapod_route_requests_total{route=\"all\",class=\"4xx\"}", 1.0);
    assert_eq!(fake.seen().len(), 3);
}

#[test]
fn a_good_token_lets_in_and_its_claims_go_upstream() {
    let fake = named("hello");
    let jwt = format!(
        "jwt = {{ keys = [{{ algorithm = \"HS256\", secret = \"{SECRET}\" }}], issuer = \"us\", audience = \"api\", \
         claims = {{ sub = \"X-User\", admin = \"X-Admin\" }} }}"
    );
    let gateway = guarded(&fake, &jwt);
    let claims =
        |more: &str| format!("{{\"sub\":\"ada\",\"iss\":\"us\",\"aud\":[\"api\"],\"exp\":9999999999{more}}}");

    assert_eq!(bearer(&gateway, &token(SECRET, &claims(",\"admin\":true"))).text(), "hello");
    let seen = fake.seen().pop().expect("it came");
    assert_eq!(seen.fields("x-user"), ["ada"], "what the client said of it itself is gone: {}", seen.head);
    assert_eq!(seen.fields("x-admin"), ["true"]);
    assert!(seen.fields("authorization").is_empty(), "the token stays here: {}", seen.head);

    let response = get(&gateway, "/", "X-User: root\r\n");
    assert_eq!(response.status, 401);
    assert_eq!(response.field("www-authenticate"), Some("Bearer realm=\"myriapod\""));
    for (bad, why) in [
        (token("another secret, of the same size", &claims("")), "signed by another"),
        (token(SECRET, &claims("").replace("9999999999", "1")), "expired"),
        (token(SECRET, &claims("").replace("us", "them")), "another issuer"),
        (token(SECRET, &claims("").replace("api", "web")), "another audience"),
        (token(SECRET, &claims(",\"nbf\":9999999998")), "not yet good"),
    ] {
        let response = bearer(&gateway, &bad);
        assert_eq!(response.status, 401, "{why}");
        let told = response.field("www-authenticate").expect("how");
        assert!(told.contains("error=\"invalid_token\""), "{why}: {told}");
    }
    assert_eq!(fake.seen().len(), 1, "nobody else got through");
    refusals(&gateway, "guard", 6.0);
}

#[test]
fn a_claim_field_is_the_gateways_also_where_the_token_has_no_such_claim() {
    let fake = named("hello");
    let jwt = format!(
        "jwt = {{ keys = [{{ algorithm = \"HS256\", secret = \"{SECRET}\" }}], claims = {{ role = \"X-User\" }} }}"
    );
    let gateway = guarded(&fake, &jwt);
    assert_eq!(bearer(&gateway, &token(SECRET, "{\"sub\":\"ada\",\"exp\":9999999999}")).status, 200);
    assert!(fake.seen()[0].fields("x-user").is_empty(), "{}", fake.seen()[0].head);
}

#[test]
fn a_password_lets_in_and_its_user_goes_upstream() {
    let fake = named("hello");
    let hash = "$2y$04$FHg1TBJiD7ofQw.HrFFGnuKfKE1FqkwID3pEOpSwQJLNnIgDb3mY6";
    let basic =
        format!("basic = {{ users = {{ alice = \"{hash}\" }}, realm = \"inside\", field = \"x-user\" }}");
    let gateway = guarded(&fake, &basic);
    let with = |user: &str| {
        let credentials = encode(user.as_bytes(), Alphabet::Standard);
        get(&gateway, "/", &format!("Authorization: Basic {credentials}\r\nX-User: root\r\n"))
    };
    assert_eq!(with("alice:secret").text(), "hello");
    assert_eq!(fake.seen()[0].fields("x-user"), ["alice"]);
    for user in ["alice:wrong", "bob:secret", "alice:", "alice"] {
        let response = with(user);
        assert_eq!(response.status, 401, "{user}");
        let told = response.field("www-authenticate").expect("how");
        assert!(told.starts_with("Basic realm=\"inside\""), "{told}");
    }
    assert_eq!(fake.seen().len(), 1);
    refusals(&gateway, "guard", 4.0);
}

#[test]
fn addresses_decide_and_only_trusted_proxies_may_say_another() {
    let fake = named("hello");
    let site = |trust: &str| {
        let pool = upstream("pool", &fake, "");
        format!(
            "[middleware.guard]\naccess = {{ allow = [\"192.0.2.0/24\"], deny = [\"192.0.2.66\"] }}\n{trust}\n{pool}\
             [[route]]\nname = \"all\"\npath = \"/*\"\nproxy = \"pool\"\nuse = \"guard\"\n"
        )
    };
    let from = |gateway: &Gateway, client: &str| get(gateway, "/", &format!("X-Forwarded-For: {client}\r\n"));
    let gateway = Gateway::start(&site(""));
    assert_eq!(from(&gateway, "192.0.2.7").status, 403, "nobody is believed");
    refusals(&gateway, "guard", 1.0);

    let gateway = Gateway::start(&site("[trust]\nproxies = [\"127.0.0.1\"]"));
    assert_eq!(from(&gateway, "192.0.2.7").status, 200);
    assert_eq!(from(&gateway, "192.0.2.66").status, 403, "denied among the allowed");
    assert_eq!(from(&gateway, "192.0.2.7, 198.51.100.1").status, 403, "the right end counts");
    let forwarded = fake.seen()[0].fields("x-forwarded-for").join(", ");
    assert_eq!(forwarded, "192.0.2.7, 127.0.0.1");
}

#[test]
fn a_body_over_the_routes_limit_is_413_however_it_is_framed() {
    let fake = Fake::echoes();
    let pool = upstream("pool", &fake, "");
    let route = "[[route]]\nname = \"all\"\npath = \"/*\"\nproxy = \"pool\"\nmax-body = \"10\"\n";
    let gateway = Gateway::start(&format!("{pool}{route}"));
    let post = |rest: &str| {
        let mut client = gateway.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{rest}"));
        client.response()
    };
    assert_eq!(post("Content-Length: 10\r\n\r\n0123456789").text(), "0123456789");
    assert_eq!(post("Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n").text(), "0123456789");
    assert_eq!(post("Content-Length: 11\r\n\r\n0123456789x").status, 413);
    refusals(&gateway, "max-body", 1.0);
    assert_eq!(post("Content-Length: 11\r\nExpect: 100-continue\r\n\r\n").status, 413, "and no 100");
    refusals(&gateway, "max-body", 2.0);
    let response = post("Transfer-Encoding: chunked\r\n\r\n8\r\n01234567\r\n3\r\n89x\r\n0\r\n\r\n");
    assert_eq!(response.status, 413);
    refusals(&gateway, "max-body", 3.0);
    assert_eq!(fake.seen().len(), 2, "nothing of the others arrived whole");
}

#[test]
fn who_is_one_too_many_at_once_is_503() {
    let fake = Fake::start(|talk| {
        while let Some(seen) = talk.request() {
            // Answered when its connection is the second one's turn.
            if seen.line().contains("/held") && !talk.is_let_go_in(super::common::PATIENCE) {
                return;
            }
            talk.say(super::ok("hello"));
        }
    });
    let gateway = guarded(&fake, "concurrency = { requests = 1 }");
    let mut holder = gateway.connect();
    holder.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    super::eventually("it is under way", || !fake.seen().is_empty());
    let response = get(&gateway, "/", "");
    assert_eq!(response.status, 503);
    assert!(response.field("retry-after").is_some(), "{}", response.head);
    refusals(&gateway, "guard", 1.0);
    holder.reset();
    super::eventually("its place is free again", || get(&gateway, "/", "").status == 200);
}
