//! What programs of one's own are built from, over real sockets: kinds of handlers, where and how they run,
//! what goes wrong in them.

mod common;

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::client::Response;
use common::{Client, Folder, eventually};
use myriapod::config::site::{ConcurrencyLimit, KeyOf};
use myriapod::config::{Config, LogLevel, Pin};
use myriapod::gateway::guard::counts::Counts;
use myriapod::gateway::guard::{Concurrency, Secret};
use myriapod::{
    Body, BodySource, Builder, Exchange, Flow, Handler, IntoResponse, Method, MethodSet, Middleware, Notes,
    Piece, Problem, Server, Status, Tune,
};

/// Starts it on a free port, quietly.
fn start(build: impl FnOnce(Builder) -> Builder) -> (Server, String) {
    let mut config = Config::default();
    config.fixed.pin = Pin::Off;
    config.fixed.log_level = LogLevel::Error;
    (config.fixed.reactors, config.fixed.workers) = (Some(1), Some(2));
    let server = build(Server::builder().config(config).listen("127.0.0.1:0")).start().expect("a free port");
    let address = server.listen()[0].to_string();
    (server, address)
}

fn ask(address: &str, method: &str, path: &str, body: &str) -> Response {
    let mut client = Client::connect(address);
    let length = body.len();
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"));
    client.response()
}

/// Where a handler runs, by the name of its thread.
fn thread_name() -> String {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-').to_owned()
}

/// A type of its own, which says of itself how it is called.
struct Greeter {
    greeting: &'static str,
}

impl Handler for Greeter {
    fn handle(&self, exchange: &mut Exchange<'_>) -> myriapod::Response {
        format!("{}, {}!", self.greeting, exchange.param("name").unwrap_or_default()).into_response()
    }
}

fn anything(exchange: &mut Exchange) -> impl IntoResponse {
    (Status::ACCEPTED, exchange.pattern().to_owned())
}

#[test]
fn functions_closures_and_types_answer() {
    let prefix = String::from("kept ");
    let (_server, address) = start(|builder| {
        builder
            .get("/greet/{name}", Greeter { greeting: "Hello" })
            .get("/anything", anything)
            .post("/closure", move |exchange: &mut Exchange| {
                prefix.clone() + &String::from_utf8_lossy(exchange.body())
            })
            .get("/none", |_: &mut Exchange| None::<String>)
            .patch("/nothing", |_: &mut Exchange| ())
            .route(MethodSet::of(&[Method::Put, Method::Delete]), "/both", |exchange: &mut Exchange| {
                exchange.method().as_str()
            })
    });
    assert_eq!(ask(&address, "GET", "/greet/J%C3%B6rg", "").text(), "Hello, Jörg!");
    let accepted = ask(&address, "GET", "/anything", "");
    assert_eq!((accepted.status, accepted.text().as_str()), (202, "/anything"));
    assert_eq!(ask(&address, "POST", "/closure", "bytes").text(), "kept bytes");
    assert_eq!(ask(&address, "GET", "/none", "").status, 404);
    assert_eq!(ask(&address, "PATCH", "/nothing", "").status, 204);
    assert_eq!(ask(&address, "PUT", "/both", "").text(), "PUT");
    assert_eq!(ask(&address, "DELETE", "/both", "x").text(), "DELETE");
    assert_eq!(ask(&address, "GET", "/both", "").field("allow"), Some("PUT, DELETE, OPTIONS"));
}

#[test]
fn head_and_options_may_be_answered_in_another_way() {
    let (_server, address) = start(|builder| {
        builder
            .get("/a", |_: &mut Exchange| "long")
            .head("/a", |_: &mut Exchange| myriapod::Response::empty(Status::OK).with("X-Own", "head"))
            .options("/a", |_: &mut Exchange| myriapod::Response::empty(Status::OK).with("X-Own", "options"))
    });
    assert_eq!(ask(&address, "OPTIONS", "/a", "").field("x-own"), Some("options"));
    assert_eq!(ask(&address, "GET", "/a", "").text(), "long");
    let mut client = Client::connect(&address);
    client.send("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response_to_head().field("x-own"), Some("head"));
}

#[test]
fn a_handler_runs_where_it_is_told_to() {
    let place = |_: &mut Exchange| thread_name();
    let (_server, address) = start(|builder| {
        builder
            .get("/usual", place)
            .get("/workers", place.on_workers())
            .get("/urgent", place.on_workers().urgent())
            .get("/back", place.on_workers().on_reactor())
            .post("/collected", place)
            .post("/streamed", place.streams_body())
    });
    let told = |method, path, body| ask(&address, method, path, body).text();
    assert_eq!(told("GET", "/usual", ""), "reactor");
    assert_eq!(told("GET", "/workers", ""), "worker");
    assert_eq!(told("GET", "/urgent", ""), "worker");
    assert_eq!(told("GET", "/back", ""), "reactor");
    assert_eq!(told("POST", "/collected", "x"), "reactor");
    assert_eq!(told("POST", "/streamed", ""), "worker");
}

/// Adds up a body of any length in the memory of one piece.
fn sum(exchange: &mut Exchange) -> Result<String, Problem> {
    let (mut piece, mut total, mut count) = ([0; 4096], 0_u64, 0_u64);
    loop {
        match exchange.body_reader().read(&mut piece) {
            Ok(0) => return Ok(format!("{count} {total}")),
            Ok(len) => {
                count += len as u64;
                total += piece[..len].iter().map(|byte| u64::from(*byte)).sum::<u64>();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(Status::BAD_REQUEST.into()),
        }
    }
}

#[test]
fn a_body_is_read_as_it_comes() {
    let (_server, address) = start(|builder| builder.put("/sum", sum.streams_body()).post("/sum", sum));
    let long = "a".repeat(3 * 1024 * 1024);
    let told = format!("{} {}", long.len(), long.len() * usize::from(b'a'));
    assert_eq!(ask(&address, "PUT", "/sum", &long).text(), told, "over what would be collected");
    assert_eq!(ask(&address, "POST", "/sum", "aa").text(), "2 194", "a collected one reads too");
    assert_eq!(ask(&address, "POST", "/sum", &long).status, 413);
}

/// Blocks until nobody wants its answer.
fn block(exchange: &mut Exchange) -> &'static str {
    let cancel = exchange.cancel();
    while !cancel.is_raised() {
        std::thread::sleep(Duration::from_millis(1));
    }
    "given up"
}

#[test]
fn a_deadline_is_the_routes_own_or_the_servers() {
    let left = |exchange: &mut Exchange| format!("{}", exchange.remaining().as_secs());
    let (_server, address) = start(|builder| {
        builder
            .request_timeout(Duration::from_secs(900))
            .get("/short", block.on_workers().timeout(Duration::from_millis(20)))
            .get("/own", left.on_workers().timeout(Duration::from_secs(90)))
            .get("/servers", left.on_workers())
            .get("/none", left.on_workers().no_timeout())
    });
    assert_eq!(ask(&address, "GET", "/short", "").status, 504);
    let seconds = |path| ask(&address, "GET", path, "").text().parse::<u64>().expect("a number");
    assert!((60..=90).contains(&seconds("/own")));
    assert!((600..=900).contains(&seconds("/servers")));
    assert_eq!(seconds("/none"), Duration::MAX.as_secs());
}

#[derive(Debug)]
struct Absent;

#[test]
fn a_mistake_of_the_program_costs_one_request() {
    let panics = |exchange: &mut Exchange| exchange.state::<Absent>().into_response();
    let (_server, address) = start(|builder| {
        builder.get("/here", panics).get("/there", panics.on_workers()).get("/a", |_: &mut Exchange| "a")
    });
    for path in ["/here", "/there"] {
        let answer = ask(&address, "GET", path, "");
        assert_eq!((answer.status, answer.text().contains("Absent")), (500, false), "{}", answer.text());
    }
    assert_eq!(ask(&address, "GET", "/a", "").status, 200);
}

impl IntoResponse for &Absent {
    fn into_response(self) -> myriapod::Response {
        Status::OK.into_response()
    }
}

/// Lets in who knows the word, and tells handlers who it is.
struct Guard;

/// Who asks.
struct Guest(String);

impl Middleware for Guard {
    fn enter(&self, exchange: &mut Exchange<'_>) -> Flow {
        let Some(name) = exchange.field_text("authorization").and_then(|value| value.strip_prefix("Name "))
        else {
            let problem = Problem::new(Status::UNAUTHORIZED).field("WWW-Authenticate", "Name");
            return Flow::Answer(problem.into_response());
        };
        exchange.notes_mut().keep(Guest(name.to_owned()));
        Flow::On
    }

    fn leave(&self, notes: &Notes, response: &mut myriapod::Response) {
        let guest = notes.kept::<Guest>().map_or("nobody", |guest| &guest.0);
        response.fields.push("X-Guest", guest);
    }
}

#[test]
fn middleware_decides_notes_and_adds() {
    let name = |exchange: &mut Exchange| exchange.notes().kept::<Guest>().map(|guest| guest.0.clone());
    let (_server, address) =
        start(|builder| builder.middleware(Guard).get("/here", name).get("/there", name.on_workers()));
    for path in ["/here", "/there"] {
        let refused = ask(&address, "GET", path, "");
        assert_eq!((refused.status, refused.field("www-authenticate")), (401, Some("Name")));
        assert_eq!(refused.field("x-guest"), Some("nobody"));
        let mut client = Client::connect(&address);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Name ada\r\n\r\n"));
        let answer = client.response();
        assert_eq!((answer.text().as_str(), answer.field("x-guest")), ("ada", Some("ada")));
    }
}

#[test]
fn a_permit_is_back_when_its_request_is_over_however_it_ends() {
    let limit = ConcurrencyLimit { requests: 1, by: KeyOf::Everybody, keys_max: 1 };
    let limit = Concurrency::new(&limit, Arc::new(Counts::new(1)), Secret::of(1));
    let gate = Arc::new(AtomicBool::new(false));
    let waits = {
        let gate = Arc::clone(&gate);
        move |_: &mut Exchange| eventually("the gate", || gate.load(Ordering::Acquire))
    };
    let (_server, address) = start(|builder| {
        let builder = builder.middleware(limit).get("/here", |_: &mut Exchange| "here");
        builder
            .get("/away", waits.on_workers())
            .post("/body", |exchange: &mut Exchange| exchange.body().len().to_string())
    });
    let status = || ask(&address, "GET", "/here", "").status;
    // Each on a connection of its own, and the others stay open.
    let mut first = Client::connect(&address);
    first.send("GET /here HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(first.response().status, 200);
    let mut away = Client::connect(&address);
    away.send("GET /away HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the permit is taken", || status() == 503);
    drop(away);
    assert_eq!(status(), 503, "its client is gone, the worker is still at it");
    gate.store(true, Ordering::Release);
    eventually("the permit is back", || status() == 200);
    let mut half = Client::connect(&address);
    half.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf");
    eventually("the permit is taken", || status() == 503);
    drop(half);
    eventually("the permit is back", || status() == 200);
}

/// Holds a share of itself while a request is under way.
struct Holds(Arc<()>);

impl Middleware for Holds {
    fn enter(&self, exchange: &mut Exchange<'_>) -> Flow {
        exchange.notes_mut().hold(Arc::clone(&self.0));
        Flow::On
    }
}

#[test]
fn what_is_held_for_a_request_does_not_wait_for_the_next() {
    let held = Arc::new(());
    let (_server, address) = start(|builder| {
        let builder = builder.middleware(Holds(Arc::clone(&held)));
        builder.get("/here", |_: &mut Exchange| "here").get("/away", (|_: &mut Exchange| "away").on_workers())
    });
    for path in ["/here", "/away"] {
        assert_eq!(ask(&address, "GET", path, "").status, 200);
        eventually("only the test and the middleware have it", || Arc::strong_count(&held) == 2);
    }
}

#[test]
fn a_body_that_breaks_a_rule_is_refused_by_way_of_the_middleware_that_its_head_had_passed() {
    let length = |exchange: &mut Exchange| exchange.body().len().to_string();
    let (_server, address) = start(|builder| builder.middleware(Guard).post("/", length));
    let mut client = Client::connect(&address);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Name ada\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(format!("{head}no number\r\n"));
    let refused = client.response();
    assert_eq!((refused.status, refused.field("x-guest")), (400, Some("ada")));
    assert!(refused.ends_connection());
}

/// Counts down, waiting for nobody; or breaks in the middle.
struct Countdown(u32, bool);

impl BodySource for Countdown {
    fn next(&mut self) -> Piece {
        match (self.0, self.1) {
            (0, _) => Piece::End,
            (5, true) => Piece::Broken,
            (left, _) => {
                self.0 -= 1;
                Piece::Bytes(format!("{left};").into_bytes())
            }
        }
    }
}

/// Has nothing to give, ever; tells when it is dropped.
struct Nothing(Arc<AtomicBool>);

impl BodySource for Nothing {
    fn next(&mut self) -> Piece {
        Piece::Bytes(Vec::new())
    }
}

impl Drop for Nothing {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_source_that_has_nothing_to_give_ends_with_its_client() {
    for is_here in [true, false] {
        let is_dropped = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_dropped);
        let nothing = move |_: &mut Exchange| {
            myriapod::Response::stream(Status::OK, "text/plain", Nothing(Arc::clone(&told)))
        };
        let (_server, address) = start(|builder| match is_here {
            true => builder.get("/", nothing),
            false => builder.get("/", nothing.on_workers()),
        });
        let mut client = Client::connect(&address);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.exactly(12).expect("the begin of its head");
        client.reset();
        eventually("nobody asks it any more", || is_dropped.load(Ordering::Relaxed));
    }
}

#[test]
fn an_answer_is_made_as_it_is_sent_wherever_its_handler_ran() {
    let answer = |is_broken| myriapod::Response::stream(Status::OK, "text/plain", Countdown(9, is_broken));
    let whole = move |_: &mut Exchange| answer(false);
    let broken = move |_: &mut Exchange| answer(true);
    let (_server, address) = start(|builder| {
        builder.get("/here", whole).get("/there", whole.on_workers()).get("/broken", broken.on_workers())
    });
    for path in ["/here", "/there"] {
        assert_eq!(ask(&address, "GET", path, "").text(), "9;8;7;6;5;4;3;2;1;");
    }
    let mut client = Client::connect(&address);
    client.send("GET /broken HTTP/1.1\r\nHost: a\r\n\r\n");
    client.try_response().expect_err("nobody takes it for whole");
}

#[test]
fn files_come_first_and_an_echo_costs_no_copy() {
    let folder = Folder::new();
    folder.write("index.html", b"<p>hello");
    let (_server, address) = start(|builder| {
        builder.files(folder.path()).get("/", |_: &mut Exchange| "not me").post(
            "/echo",
            (|_: &mut Exchange| myriapod::Response {
                body: Body::Reflect,
                ..myriapod::Response::empty(Status::OK)
            })
            .on_workers(),
        )
    });
    assert_eq!(ask(&address, "GET", "/", "").text(), "<p>hello");
    assert_eq!(ask(&address, "POST", "/echo", "back").text(), "back");
}

#[test]
fn a_dropped_server_is_gone_and_its_handlers_with_it() {
    let (begun, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (tells_begin, tells_end) = (Arc::clone(&begun), Arc::clone(&ended));
    let waits = move |exchange: &mut Exchange| {
        tells_begin.store(true, Ordering::SeqCst);
        let answer = block(exchange);
        tells_end.store(true, Ordering::SeqCst);
        answer
    };
    let (server, address) = start(|builder| builder.get("/block", waits.on_workers()));
    let mut client = Client::connect(&address);
    client.send("GET /block HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it blocks", || begun.load(Ordering::SeqCst));
    drop(server);
    assert!(ended.load(Ordering::SeqCst), "it was told to give up, and waited for");
    assert!(Client::try_connect(&address).is_err());
}

/// A handler may end the server that runs it; its own answer is still given.
#[test]
fn a_drain_can_begin_anywhere() {
    let drainer = Arc::new(std::sync::OnceLock::<myriapod::server::Drainer>::new());
    let known = Arc::clone(&drainer);
    let end = move |_: &mut Exchange| {
        known.get().expect("it was started").drain();
        "good bye"
    };
    let (server, address) = start(|builder| builder.post("/end", end.on_workers()));
    assert!(drainer.set(server.drainer()).is_ok());
    assert_eq!(ask(&address, "POST", "/end", "").text(), "good bye");
    assert_eq!(server.join().expect("every reactor ended").cut, 0);
}
