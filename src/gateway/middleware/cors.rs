//! Who may read answers in a browser from another site: CORS, as the Fetch standard has it.
//!
//! ```text
//!  OPTIONS, with Origin and Access-Control-Request-Method   a preflight: answered here, 204
//!  anything else                                            served; the answer says which origin may read it
//! ```
//! What is not allowed is not said, and the browser keeps the answer from the page: CORS protects visitors of
//! other sites, it does not keep requests out. Whatever depends on the origin says so by `Vary`.
//! An answer whose handler says itself who may read it stays as it is. No origin is taken for another:
//! no patterns, no reflection of what was sent.

use std::time::Duration;

use super::{Flow, Middleware};
use crate::gateway::exchange::Exchange;
use crate::gateway::notes::Notes;
use crate::http::{Fields, Method, MethodSet, Request, Response, Status};

const ALLOW_ORIGIN: &str = "Access-Control-Allow-Origin";

/// See the module. Before whatever asks for credentials: a preflight has none.
///
/// ```
/// use std::time::Duration;
///
/// use myriapod::gateway::Gateway;
/// use myriapod::gateway::middleware::Cors;
/// use myriapod::http::{Method, MethodSet};
///
/// let cors = Cors::of(["https://app.example", "http://localhost:5173"])
///     .methods(MethodSet::of(&[Method::Put, Method::Delete]))
///     .headers(["Content-Type", "Authorization"])
///     .expose(["X-Request-Id"])
///     .with_credentials()
///     .max_age(Duration::from_secs(600));
/// let gateway = Gateway::new().with_middleware(cors);
/// ```
#[derive(Clone, Debug)]
pub struct Cors {
    origins: Origins,
    methods: String,
    headers: Headers,
    exposed: String,
    has_credentials: bool,
    max_age_s: Option<u64>,
}

#[derive(Clone, Debug)]
enum Origins {
    Any,
    Listed(Vec<String>),
}

#[derive(Clone, Debug)]
enum Headers {
    AsAsked,
    Listed(String),
}

/// Noted of a request: which of the listed origins it comes from.
struct Granted(usize);

impl Cors {
    /// Pages of every origin may read the answers, those of the devil too: for what is public anyway.
    #[must_use]
    pub fn any() -> Cors {
        Cors::with_origins(Origins::Any)
    }

    /// Pages of these origins may, and no others.
    ///
    /// # Panics
    /// When one is not written as browsers write it, and so would never be met: origins are chosen by
    /// programmers.
    #[must_use]
    pub fn of(origins: impl IntoIterator<Item = impl Into<String>>) -> Cors {
        Cors::with_origins(Origins::Listed(
            origins.into_iter().map(|origin| checked(origin.into())).collect(),
        ))
    }

    fn with_origins(origins: Origins) -> Cors {
        Cors {
            origins,
            methods: String::new(),
            headers: Headers::Listed(String::new()),
            exposed: String::new(),
            has_credentials: false,
            max_age_s: None,
        }
    }

    /// Which methods pages may use. GET, HEAD and POST are theirs anyway.
    #[must_use]
    pub fn methods(self, methods: MethodSet) -> Cors {
        Cors { methods: methods.to_string(), ..self }
    }

    /// Which fields pages may send, beyond the few that they may always send.
    ///
    /// # Panics
    /// When one is no field's name.
    #[must_use]
    pub fn headers<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Cors {
        Cors { headers: Headers::Listed(listed(names)), ..self }
    }

    /// Lets pages send whatever fields they ask for.
    #[must_use]
    pub fn headers_as_asked(self) -> Cors {
        Cors { headers: Headers::AsAsked, ..self }
    }

    /// Which fields of an answer pages may read, beyond the few that they may always read.
    ///
    /// # Panics
    /// When one is no field's name.
    #[must_use]
    pub fn expose<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Cors {
        Cors { exposed: listed(names), ..self }
    }

    /// Lets pages send cookies and other credentials along, and read what is answered to their owner.
    ///
    /// # Panics
    /// When pages of any origin may read: then every site could act as each of its visitors.
    #[must_use]
    pub fn with_credentials(self) -> Cors {
        let is_listed = matches!(self.origins, Origins::Listed(_));
        assert!(
            is_listed,
            "credentials for any origin: list the origins, as in Cors::of([\"https://app.example\"])"
        );
        Cors { has_credentials: true, ..self }
    }

    /// How long a browser need not ask again; it may do so earlier. By default it is a matter of seconds.
    #[must_use]
    pub fn max_age(self, age: Duration) -> Cors {
        Cors { max_age_s: Some(age.as_secs()), ..self }
    }

    /// Which of the listed origins the request comes from.
    fn granted(&self, origin: &[u8]) -> Option<usize> {
        match &self.origins {
            Origins::Any => None,
            Origins::Listed(origins) => origins.iter().position(|listed| listed.as_bytes() == origin),
        }
    }

    /// How an answer to that one of the listed origins names it.
    fn named(&self, granted: Option<usize>) -> Option<&str> {
        match &self.origins {
            Origins::Any => Some("*"),
            Origins::Listed(origins) => origins.get(granted?).map(String::as_str),
        }
    }

    fn grant(&self, origin: &str, fields: &mut Fields) {
        fields.push(ALLOW_ORIGIN, origin);
        if self.has_credentials {
            fields.push("Access-Control-Allow-Credentials", "true");
        }
    }

    /// Says all that is allowed, not only what was asked: the browser compares, and remembers the rest.
    fn preflight(&self, origin: Option<&str>, request: &Request<'_>) -> Response {
        let mut response = Response::empty(Status::NO_CONTENT);
        let Some(origin) = origin else { return response };
        let fields = &mut response.fields;
        self.grant(origin, fields);
        let headers = match &self.headers {
            Headers::Listed(names) => names.as_bytes(),
            Headers::AsAsked => asked_headers(request),
        };
        for (name, value) in [
            ("Access-Control-Allow-Methods", self.methods.as_bytes()),
            ("Access-Control-Allow-Headers", headers),
        ] {
            if !value.is_empty() {
                fields.push(name, value);
            }
        }
        if let Some(seconds) = self.max_age_s {
            fields.push("Access-Control-Max-Age", seconds.to_string());
        }
        response
    }
}

impl Middleware for Cors {
    fn enter(&self, exchange: &mut Exchange<'_>) -> Flow {
        let request = exchange.request();
        let Some(origin) = sole(&request, "origin") else { return Flow::On };
        let granted = self.granted(origin);
        if is_preflight(&request) {
            return Flow::Answer(self.preflight(self.named(granted), &request));
        }
        if let Some(place) = granted {
            exchange.notes_mut().keep(Granted(place));
        }
        Flow::On
    }

    fn leave(&self, notes: &Notes, response: &mut Response) {
        let fields = &mut response.fields;
        if matches!(self.origins, Origins::Listed(_)) {
            // Where no origin is named too: a cache must not give that answer to a page that may read it.
            vary_by_origin(fields);
        }
        // A preflight, or a handler that speaks for itself. Two of them would be none to a browser.
        if fields.contains(ALLOW_ORIGIN) {
            return;
        }
        let Some(origin) = self.named(notes.kept().map(|Granted(place)| *place)) else { return };
        self.grant(origin, fields);
        if !self.exposed.is_empty() {
            fields.push("Access-Control-Expose-Headers", &self.exposed);
        }
    }
}

fn is_preflight(request: &Request<'_>) -> bool {
    request.method() == Method::Options && request.field("access-control-request-method").is_some()
}

/// The value of a field that stands there once.
fn sole<'a>(request: &Request<'a>, name: &str) -> Option<&'a [u8]> {
    let mut values = request.fields_named(name);
    values.next().filter(|_| values.next().is_none())
}

/// The names that the browser wants allowed; empty unless that is what they are.
fn asked_headers<'a>(request: &Request<'a>) -> &'a [u8] {
    let asked = sole(request, "access-control-request-headers").unwrap_or_default();
    let is_list = asked.split(|byte| *byte == b',').all(|name| is_token(name.trim_ascii()));
    if is_list { asked } else { &[] }
}

fn vary_by_origin(fields: &mut Fields) {
    let mut members = fields.named("vary").flat_map(|value| value.split(|byte| *byte == b','));
    let says_so = |member: &[u8]| member == b"*" || member.eq_ignore_ascii_case(b"origin");
    if !members.any(|member| says_so(member.trim_ascii())) {
        drop(members);
        fields.push("Vary", "Origin");
    }
}

fn listed<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    for name in &names {
        assert!(*name != "*", "field \"*\": with credentials it means nothing; name each field");
        assert!(is_token(name.as_bytes()), "field {name:?}: a name is one word, as in \"Content-Type\"");
    }
    names.join(", ")
}

/// RFC 9110 section 5.6.2.
fn is_token(name: &[u8]) -> bool {
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_of_token)
}

fn checked(origin: String) -> String {
    let mistake = mistake_in(&origin);
    assert!(mistake.is_none(), "{}", mistake.unwrap_or_default());
    origin
}

/// What is wrong with an origin, if anything is.
pub(in crate::gateway) fn mistake_in(origin: &str) -> Option<String> {
    match origin {
        "*" => Some("origin \"*\": for any origin, write Cors::any()".to_owned()),
        "null" => {
            Some("origin \"null\": every page in a sandbox has it, whoever made it; leave it out".to_owned())
        }
        _ if is_origin(origin) => None,
        _ => Some(format!(
            "origin {origin:?}: write it as browsers do, as in \"https://app.example\" or \
             \"http://localhost:8080\": lower case, nothing behind the host but a port, \
             and no port where it is the scheme's own"
        )),
    }
}

/// As browsers write one (Fetch, \"serializing a request origin\"), but for `null`.
fn is_origin(origin: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    is_scheme(scheme) && is_host(host) && port.is_none_or(|port| is_port(port, scheme))
}

fn is_scheme(scheme: &str) -> bool {
    let is_of_scheme = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.');
    scheme.starts_with(|first: char| first.is_ascii_lowercase()) && scheme.bytes().all(is_of_scheme)
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok_and(|read| read.to_string() == address),
        None => {
            let is_of_host = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
            !host.is_empty() && host.bytes().all(is_of_host)
        }
    }
}

fn is_port(port: &str, scheme: &str) -> bool {
    let number = port.parse::<u16>().ok().filter(|number| number.to_string() == port);
    number.is_some_and(|number| !matches!((scheme, number), ("http", 80) | ("https", 443)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::middleware::tests::{Head, text, value};
    use proptest::prelude::*;

    const APP: &str = "https://app.example";
    const PREFLIGHT: (&str, &str) = ("Access-Control-Request-Method", "PUT");

    fn cors() -> Cors {
        Cors::of(["https://other.example", APP])
            .methods(MethodSet::of(&[Method::Put, Method::Delete]))
            .headers(["Content-Type", "X-Token"])
            .expose(["X-Request-Id", "ETag"])
            .max_age(Duration::from_secs(600))
    }

    fn options(fields: &[(&str, &str)], cors: &Cors) -> Response {
        Head::get("/", fields).by(Method::Options).pass(cors).1
    }

    fn get(fields: &[(&str, &str)], cors: &Cors) -> String {
        text(&Head::get("/", fields).pass(cors).1)
    }

    #[test]
    fn a_preflight_hears_all_that_is_allowed() {
        let asked = [("Origin", APP), PREFLIGHT, ("Access-Control-Request-Headers", "x-secret")];
        let answer = options(&asked, &cors());
        assert_eq!(answer.status, Status::NO_CONTENT);
        assert_eq!(
            text(&answer),
            "Access-Control-Allow-Origin: https://app.example\r\n\
             Access-Control-Allow-Methods: PUT, DELETE\r\n\
             Access-Control-Allow-Headers: Content-Type, X-Token\r\n\
             Access-Control-Max-Age: 600\r\n\
             Vary: Origin\r\n"
        );
    }

    #[test]
    fn a_strangers_preflight_hears_nothing() {
        for origin in
            ["https://evil.example", "https://app.example.evil.example", "null", "", "HTTPS://app.example"]
        {
            let answer = options(&[("Origin", origin), PREFLIGHT], &cors());
            assert_eq!(
                (answer.status, &*text(&answer)),
                (Status::NO_CONTENT, "Vary: Origin\r\n"),
                "{origin}"
            );
        }
    }

    #[test]
    fn options_that_are_no_preflight_are_the_gateways() {
        for fields in [&[("Origin", APP)][..], &[PREFLIGHT], &[("Origin", APP), ("Origin", APP), PREFLIGHT]] {
            assert_eq!(options(fields, &cors()).status, Status::OK, "{fields:?}");
        }
        let put = Head::get("/", &[("Origin", APP), PREFLIGHT]).by(Method::Put);
        assert_eq!(put.pass(&cors()).1.status, Status::OK);
    }

    #[test]
    fn an_actual_answer_names_the_origin_that_may_read_it() {
        assert_eq!(
            get(&[("Origin", APP)], &cors().with_credentials()),
            "Vary: Origin\r\nAccess-Control-Allow-Origin: https://app.example\r\n\
             Access-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: X-Request-Id, ETag\r\n"
        );
        assert_eq!(get(&[("Origin", "https://evil.example")], &cors()), "Vary: Origin\r\n");
        assert_eq!(get(&[], &cors()), "Vary: Origin\r\n", "or a cache would give it to a page");
    }

    #[test]
    fn what_anybody_may_read_depends_on_nobody() {
        let cors = Cors::any().headers_as_asked();
        assert_eq!(get(&[], &cors), "Access-Control-Allow-Origin: *\r\n");
        assert_eq!(get(&[("Origin", "null")], &cors), "Access-Control-Allow-Origin: *\r\n");
        let asked = [("Origin", APP), PREFLIGHT, ("Access-Control-Request-Headers", "x-a,x-b")];
        let answer = options(&asked, &cors);
        assert_eq!(
            text(&answer),
            "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Headers: x-a,x-b\r\n"
        );
    }

    #[test]
    fn only_names_are_sent_back() {
        let cors = Cors::any().headers_as_asked();
        for asked in ["", ",", "x-a;q=1", "x a", "x-a,", "\u{e9}"] {
            let asked = [("Origin", APP), PREFLIGHT, ("Access-Control-Request-Headers", asked)];
            assert_eq!(value(&options(&asked, &cors), "Access-Control-Allow-Headers"), None, "{asked:?}");
        }
    }

    #[test]
    fn a_handlers_own_word_stands() {
        let mut response =
            Response::fixed(Status::OK, "Vary: Accept, origin\r\nAccess-Control-Allow-Origin: *\r\n", b"");
        let mut notes = Notes::default();
        notes.keep(Granted(1));
        cors().leave(&notes, &mut response);
        assert!(response.fields.as_fixed().is_some(), "{}", text(&response));
    }

    #[test]
    #[should_panic(expected = "list the origins")]
    fn credentials_for_anybody_are_a_mistake() {
        let _ = Cors::any().with_credentials();
    }

    #[test]
    #[should_panic(expected = "nothing behind the host but a port")]
    fn an_origin_that_no_browser_sends_is_a_mistake() {
        let _ = Cors::of(["https://app.example/"]);
    }

    #[test]
    #[should_panic(expected = "Cors::any()")]
    fn a_star_in_a_list_is_a_mistake() {
        let _ = Cors::of(["*"]);
    }

    #[test]
    #[should_panic(expected = "one word")]
    fn a_list_in_one_name_is_a_mistake() {
        let _ = Cors::any().headers(["Content-Type, X-Token"]);
    }

    #[test]
    fn origins_are_those_that_browsers_write() {
        for origin in [
            "http://localhost:8080",
            "https://[::1]",
            "https://[2001:db8::1]:8443",
            "app-x://id_1.a",
            "http://xn--bcher-kva.example",
            "http://a:443",
        ] {
            assert!(is_origin(origin), "{origin}");
        }
        for origin in [
            "app.example",
            "https://",
            "https://App.example",
            "https://a/b",
            "https://a:",
            "https://a:443",
            "https://a:0443",
            "https://a:65536",
            "http://a:80",
            "https://u@a",
            "https://a?b",
            "://a",
            "1a://a",
            "https://[::1",
            "https://[0:0:0:0:0:0:0:1]",
            "https://*.example",
            "https://b\u{fc}cher.example",
            " https://a",
        ] {
            assert!(!is_origin(origin), "{origin}");
        }
    }

    proptest! {
        #[test]
        fn every_origin_is_recognised_and_no_other(
            scheme in "http|https|[a-z][a-z0-9+.-]{0,5}", host in "[a-z0-9-]{1,8}(\\.[a-z0-9]{1,5}){0,2}",
            port in proptest::option::of(1024u16..), extra in "[ -~]{1,3}",
        ) {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let origin = format!("{scheme}://{host}{port}");
            let cors = Cors::of([&origin]);
            prop_assert_eq!(cors.granted(origin.as_bytes()), Some(0));
            prop_assert_eq!(cors.granted(format!("{origin}{extra}").as_bytes()), None);
            prop_assert_eq!(cors.granted(&origin.as_bytes()[..origin.len() - 1]), None);
        }

        #[test]
        fn an_origin_is_safe_to_write_and_has_no_path(origin in "[ -~\\n]{0,8}://[ -~\\n]{0,12}") {
            if is_origin(&origin) {
                let authority = origin.split_once("://").map(|(_, authority)| authority).unwrap_or_default();
                prop_assert!(!authority.contains(['/', '?', '#', '@', ' ', '\n', '*', ',']));
                prop_assert_eq!(origin.to_ascii_lowercase(), origin);
            }
        }
    }
}
