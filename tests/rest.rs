//! The worked example, `examples/users`, end to end over real sockets: every route, every refusal, many at
//! once.

#[path = "../examples/users/app.rs"]
mod app;
mod common;
#[path = "../examples/users/store.rs"]
mod store;

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use common::client::Response;
use common::{Client, eventually};
use myriapod::Server;
use myriapod::config::{Config, Fixed, LogLevel, Pin};
use serde_json::{Value, json};

const JSON: &str = "Content-Type: application/json\r\n";
const WORKERS: u32 = 2;

/// The example on a port of its own, with so many workers that tests can keep all of them busy.
struct App {
    server: Server,
    address: String,
}

impl App {
    fn start() -> App {
        App::start_with(|_| {})
    }

    fn start_with(change: impl FnOnce(&mut Fixed)) -> App {
        let mut config = Config::default();
        config.fixed.pin = Pin::Off;
        config.fixed.log_level = LogLevel::Error;
        config.fixed.reactors = Some(2);
        config.fixed.workers = Some(WORKERS);
        change(&mut config.fixed);
        let server = app::app().config(config).listen("127.0.0.1:0").start().expect("a free port");
        let address = server.listen()[0].to_string();
        App { server, address }
    }

    fn connect(&self) -> Client {
        Client::connect(&self.address)
    }

    /// One request on a connection of its own.
    fn ask(&self, method: &str, path: &str, fields: &str, body: &str) -> Response {
        ask(&mut self.connect(), method, path, fields, body)
    }

    fn create(&self, name: &str) -> Response {
        self.ask("POST", "/users", JSON, &draft(name))
    }

    fn running(&self) -> Value {
        json_of(&self.ask("GET", "/report/running", "", ""))
    }
}

fn request(method: &str, path: &str, fields: &str, body: &str) -> String {
    let length = match body.len() {
        0 => String::new(),
        length => format!("Content-Length: {length}\r\n"),
    };
    format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{length}{fields}\r\n{body}")
}

fn ask(client: &mut Client, method: &str, path: &str, fields: &str, body: &str) -> Response {
    client.send(request(method, path, fields, body));
    client.response()
}

fn draft(name: &str) -> String {
    json!({"name": name, "email": format!("{name}@example.com")}).to_string()
}

fn json_of(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_else(|error| panic!("{error}: {}", response.text()))
}

/// An answer that refuses, as its status and the whole problem.
fn problem_of(response: &Response) -> Value {
    assert_eq!(response.field("content-type"), Some("application/problem+json"), "{}", response.head);
    let problem = json_of(response);
    assert_eq!(problem["status"], response.status);
    problem
}

#[test]
fn a_user_is_created_read_replaced_and_deleted() {
    let app = App::start();
    let made = app.create("ada");
    assert_eq!((made.status, made.field("location")), (201, Some("/users/1")));
    assert_eq!(made.field("content-type"), Some("application/json"));
    assert_eq!(json_of(&made), json!({"id": 1, "version": 1, "name": "ada", "email": "ada@example.com"}));

    let mut client = app.connect();
    let shown = client.ask("/users/1");
    assert_eq!((shown.status, &shown.body), (200, &made.body));
    assert_eq!(shown.field("etag"), Some("\"1\""));

    let replaced = ask(&mut client, "PUT", "/users/1", JSON, &draft("eve"));
    assert_eq!((replaced.status, replaced.field("etag")), (200, Some("\"2\"")));
    assert_eq!(json_of(&client.ask("/users/1"))["name"], "eve");

    let deleted = ask(&mut client, "DELETE", "/users/1", "", "");
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    let absent = problem_of(&client.ask("/users/1"));
    assert_eq!(absent, json!({"title": "Not Found", "status": 404, "detail": "no such user", "id": 1}));
    assert_eq!(ask(&mut client, "DELETE", "/users/1", "", "").status, 404);
    assert_eq!(ask(&mut client, "PUT", "/users/1", JSON, &draft("eve")).status, 404);
    assert_eq!(app.create("bob").field("location"), Some("/users/2"), "an id is not given away twice");
}

#[test]
fn of_two_who_change_the_same_version_one_is_told() {
    let app = App::start();
    app.create("ada");
    let seen = format!("{JSON}If-Match: \"1\"\r\n");
    assert_eq!(app.ask("PUT", "/users/1", &seen, &draft("first")).status, 200);
    let late = app.ask("PUT", "/users/1", &seen, &draft("second"));
    assert_eq!((late.status, problem_of(&late)["title"].as_str()), (412, Some("Precondition Failed")));
    let either = format!("{JSON}If-Match: \"7\", \"2\"\r\n");
    assert_eq!(app.ask("PUT", "/users/1", &either, &draft("third")).status, 200);
    let any = format!("{JSON}If-Match: *\r\n");
    assert_eq!(app.ask("PUT", "/users/1", &any, &draft("fourth")).status, 200);
}

#[test]
fn what_a_client_does_wrong_is_told_as_a_problem() {
    let app = App::start();
    let mut client = app.connect();
    let mut refused = |method: &str, path: &str, fields: &str, body: &str| {
        let response = ask(&mut client, method, path, fields, body);
        let problem = problem_of(&response);
        (response, problem)
    };
    let (_, cut) = refused("POST", "/users", JSON, "{\"name\":\n\"ada\"");
    assert_eq!((&cut["status"], &cut["line"], &cut["column"]), (&json!(400), &json!(2), &json!(5)));
    let (_, absent) = refused("POST", "/users", JSON, r#"{"name":"ada"}"#);
    assert_eq!(absent["status"], 422);
    assert_eq!(absent["detail"], "missing field `email`: line 1, column 14");
    let (_, other) = refused("POST", "/users", JSON, r#"{"name":1,"email":"a@b.c"}"#);
    assert_eq!(other["status"], 422);
    assert!(!other.to_string().contains("String") && !other.to_string().contains("string"), "{other}");
    let (_, empty) = refused("POST", "/users", JSON, "");
    assert_eq!(empty["status"], 400);
    let (response, plain) = refused("POST", "/users", "Content-Type: text/plain\r\n", &draft("ada"));
    assert_eq!((&plain["status"], response.field("accept")), (&json!(415), Some("application/json")));
    let (_, untyped) = refused("PUT", "/users/1", "", &draft("ada"));
    assert_eq!(untyped["status"], 415);
    let (_, wordy) = refused("GET", "/users/ada", "", "");
    assert_eq!((&wordy["status"], &wordy["parameter"]), (&json!(400), &json!("id")));
    let (_, askew) = refused("GET", "/users?limit=many", "", "");
    assert_eq!(askew["status"], 400);
}

#[test]
fn every_flaw_of_a_body_is_told_at_once() {
    let app = App::start();
    let response = app.ask("POST", "/users", JSON, r#"{"name":" ","email":"nowhere"}"#);
    let problem = problem_of(&response);
    assert_eq!(problem["status"], 422);
    let pointers: Vec<&str> = problem["errors"].as_array().expect("a list").iter().map(pointer).collect();
    assert_eq!(pointers, ["#/name", "#/email"]);
    assert_eq!(json_of(&app.ask("GET", "/users", "", ""))["users"], json!([]), "nothing was made");
}

fn pointer(flaw: &Value) -> &str {
    flaw["pointer"].as_str().expect("text")
}

#[test]
fn a_body_over_the_limit_is_refused_however_it_is_sent() {
    let app = App::start();
    let long = draft(&"a".repeat(4096));
    assert_eq!(app.ask("POST", "/users", JSON, &long).status, 413);
    assert_eq!(app.ask("PUT", "/users/1", JSON, &long).status, 413);
    let chunked = format!("{JSON}Transfer-Encoding: chunked\r\n");
    let mut client = app.connect();
    client.send(format!(
        "POST /users HTTP/1.1\r\nHost: a\r\n{chunked}\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
        long.len()
    ));
    assert_eq!(client.response().status, 413);
    let mut client = app.connect();
    let short = draft("ada");
    client.send(format!(
        "POST /users HTTP/1.1\r\nHost: a\r\n{chunked}\r\n{:x}\r\n{short}\r\n0\r\n\r\n",
        short.len()
    ));
    assert_eq!(client.response().status, 201);
}

#[test]
fn every_answer_has_an_id_whoever_makes_it() {
    let app = App::start();
    let mut client = app.connect();
    let mine = "X-Request-Id: mine-1\r\n";
    let requests = [("GET", "/users"), ("GET", "/nothing"), ("PATCH", "/users"), ("GET", "/users.csv")];
    for (method, path) in requests.into_iter().chain([("GET", "/report"), ("GET", "/users/x")]) {
        assert_eq!(ask(&mut client, method, path, mine, "").field("x-request-id"), Some("mine-1"), "{path}");
        let given = ask(&mut client, method, path, "", "");
        assert!(given.field("x-request-id").is_some_and(|id| id.len() > 10), "{path}: {}", given.head);
    }
}

#[test]
fn methods_are_answered_by_the_routes_of_a_path() {
    let app = App::start();
    app.create("ada");
    let mut client = app.connect();
    for (path, allowed) in [
        ("/users", "GET, HEAD, POST, OPTIONS"),
        ("/users/1", "GET, HEAD, PUT, DELETE, OPTIONS"),
        ("/users.csv", "GET, HEAD, OPTIONS"),
    ] {
        let refused = ask(&mut client, "PATCH", path, JSON, "{}");
        assert_eq!((refused.status, refused.field("allow")), (405, Some(allowed)));
        let asked = ask(&mut client, "OPTIONS", path, "", "");
        assert_eq!((asked.status, asked.field("allow")), (204, Some(allowed)));
    }
    for path in ["/users", "/users/1"] {
        client.send(request("HEAD", path, "", ""));
        let head = client.response_to_head();
        let got = client.ask(path);
        assert_eq!((head.status, head.field("content-length")), (200, got.field("content-length")));
        assert_eq!(head.field("etag"), got.field("etag"));
    }
    client.send(request("HEAD", "/users.csv", "", ""));
    assert_eq!(client.response_to_head().status, 200);
    assert_eq!(client.ask("/plaintext").status, 404, "what was not asked for is not served");
    assert_eq!(client.ask("/metrics").status, 404);
    assert_eq!(client.ask("/healthz").status, 200, "what was asked for is");
}

/// Many requests in one go on one connection.
fn create_many(app: &App, count: usize) {
    let mut client = app.connect();
    let requests: String =
        (0..count).map(|number| request("POST", "/users", JSON, &draft(&format!("u{number}")))).collect();
    client.send(requests);
    (0..count).for_each(|_| assert_eq!(client.response().status, 201));
}

#[test]
fn a_list_is_read_page_by_page() {
    let app = App::start();
    create_many(&app, 25);
    let mut client = app.connect();
    let (mut path, mut ids, mut pages) = (String::from("/users?limit=10"), Vec::new(), 0);
    loop {
        let page = json_of(&client.ask(&path));
        ids.extend(
            page["users"].as_array().expect("a list").iter().map(|user| user["id"].as_u64().expect("an id")),
        );
        pages += 1;
        match page["next"].as_str() {
            Some(next) => path = next.to_owned(),
            None => break,
        }
    }
    assert_eq!((pages, ids), (3, (1..=25).collect()));
    assert_eq!(json_of(&client.ask("/users"))["users"].as_array().map(Vec::len), Some(20));
    assert_eq!(json_of(&client.ask("/users?limit=9999"))["users"].as_array().map(Vec::len), Some(25));
}

#[test]
fn a_table_is_streamed_whole() {
    let app = App::start();
    let odd = json!({"name": "Ada \"the\" first,\r\nof many", "email": "a@b.c"}).to_string();
    assert_eq!(app.ask("POST", "/users", JSON, &odd).status, 201);
    create_many(&app, 1_000);
    let table = app.ask("GET", "/users.csv", "", "");
    assert_eq!(table.field("transfer-encoding"), Some("chunked"));
    assert_eq!(table.field("content-type"), Some("text/csv; charset=utf-8"));
    let text = table.text();
    assert!(
        text.starts_with("id,name,email\r\n1,\"Ada \"\"the\"\" first,\r\nof many\",\"a@b.c\"\r\n2,"),
        "{text}"
    );
    assert!(text.ends_with("\r\n1001,\"u999\",\"u999@example.com\"\r\n"));
    assert_eq!(text.matches("\r\n").count(), 1_003);
}

#[test]
fn users_made_at_once_all_get_ids_of_their_own() {
    const CLIENTS: usize = 16;
    const EACH: usize = 50;
    let app = App::start();
    let address = app.address.as_str();
    let made: Vec<u64> = thread::scope(|scope| {
        let client = |_| {
            scope.spawn(|| {
                let mut client = Client::connect(address);
                let mut create = |_| ask(&mut client, "POST", "/users", JSON, &draft("ada"));
                (0..EACH).map(|at| json_of(&create(at))["id"].as_u64().expect("an id")).collect::<Vec<u64>>()
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        clients.into_iter().flat_map(|client| client.join().expect("served")).collect()
    });
    let distinct: BTreeSet<u64> = made.iter().copied().collect();
    assert_eq!((made.len(), distinct.len()), (CLIENTS * EACH, CLIENTS * EACH));
    let table = app.ask("GET", "/users.csv", "", "").text();
    let listed: BTreeSet<u64> = table
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().expect("an id").parse().expect("a number"))
        .collect();
    assert_eq!(listed, distinct);
}

#[test]
fn reports_on_all_workers_hold_nobody_up_and_end_with_their_clients() {
    let app = App::start();
    let mut reporters: Vec<Client> = (0..WORKERS + 3).map(|_| app.connect()).collect();
    reporters.iter_mut().for_each(|client| client.send(request("GET", "/report?ms=50000", "", "")));
    eventually("all workers report", || app.running() == json!(WORKERS));
    let mut client = app.connect();
    client.wait_at_most(Duration::from_secs(2));
    for number in 1..=50 {
        assert_eq!(ask(&mut client, "POST", "/users", JSON, &draft("ada")).status, 201);
        assert_eq!(client.ask(&format!("/users/{number}")).status, 200);
    }
    assert_eq!(app.running(), json!(WORKERS), "nobody was faster than blocking");
    drop(reporters);
    eventually("reports for nobody end early", || app.running() == json!(0));
    assert_eq!(json_of(&app.ask("GET", "/report", "", "")), json!({"users": 50}));
}

#[test]
fn beyond_what_may_wait_a_report_is_refused_at_once() {
    let app = App::start_with(|fixed| {
        (fixed.workers, fixed.reactors) = (Some(1), Some(1));
        (fixed.queue_depth, fixed.queue_ms_max) = (1, None);
    });
    let report = request("GET", "/report?ms=50000", "", "");
    let mut at_work = app.connect();
    at_work.send(&report);
    eventually("the worker reports", || app.running() == json!(1));
    // Whichever of two comes first may wait; the other is told.
    let mut both = [app.connect(), app.connect()];
    both.iter_mut().for_each(|client| client.send(&report));
    eventually("one is answered", || both.iter_mut().any(|client| !client.is_silent()));
    let refused = both.iter_mut().find(|client| !client.unread().is_empty()).expect("an answer");
    let answer = refused.response();
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
    assert_eq!(refused.ask("/users").status, 200, "and its connection lives on");
    assert!(both.iter_mut().any(Client::is_silent), "the other waits");
}

#[test]
fn a_built_server_drains() {
    let app = App::start();
    let mut idle = app.connect();
    assert_eq!(idle.ask("/users").status, 200);
    let banner = app.server.banner().to_owned();
    assert!(banner.contains("/users /users/{id} /users.csv /report"), "{banner}");
    app.server.drain();
    idle.is_closed();
    assert_eq!(app.server.join().expect("in good order").cut, 0);
}
