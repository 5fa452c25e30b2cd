//! What is served: routes, the handlers behind them, and how refusals become problems.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use myriapod::middleware::RequestId;
use myriapod::{BodySource, Builder, Exchange, Json, Piece, Problem, Response, Server, Status, Tune};
use serde::{Deserialize, Serialize};

use super::store::{Draft, Refused, User, Users};

/// A user is two short texts; whoever sends more is refused before it is read.
const DRAFT_BYTES_MAX: u64 = 4 * 1024;
/// Users on one page, at most.
const PAGE_MAX: usize = 100;

/// Everything but where it listens, which differs between `main` and a test.
pub fn app() -> Builder {
    Server::builder()
        // First, so that every answer has an id, whoever makes it: a user who complains can name it.
        .middleware(RequestId::new())
        .state(Users::default())
        .state(Reports::default())
        .health()
        .get("/users", list)
        .post("/users", create.body_max(DRAFT_BYTES_MAX))
        .get("/users/{id}", show)
        .put("/users/{id}", replace.body_max(DRAFT_BYTES_MAX))
        .delete("/users/{id}", delete)
        .get("/users.csv", export)
        .get("/report", report.on_workers().timeout(Duration::from_secs(60)))
        .get("/report/running", running)
}

// These handlers run on the reactor, between the requests of others: they take a lock for microseconds, and
// never while anything waits.

fn create(exchange: &mut Exchange) -> Result<Response, Problem> {
    let draft = exchange.json::<Draft>()?.checked()?;
    let user = exchange.state::<Users>().create(draft)?;
    Ok(shown(Status::CREATED, &user).with("Location", format!("/users/{}", user.id)))
}

fn show(exchange: &mut Exchange) -> Result<Response, Problem> {
    let user = exchange.state::<Users>().find(exchange.parse_param("id")?)?;
    Ok(shown(Status::OK, &user))
}

/// With `If-Match` it replaces only what the client has seen, so that nobody's change is lost unnoticed.
fn replace(exchange: &mut Exchange) -> Result<Response, Problem> {
    let id = exchange.parse_param("id")?;
    let draft = exchange.json::<Draft>()?.checked()?;
    let is_meant = |user: &User| match exchange.field_text("if-match") {
        None | Some("*") => true,
        Some(tags) => tags.split(',').any(|tag| tag.trim() == etag(user)),
    };
    let user = exchange.state::<Users>().replace(id, draft, is_meant)?;
    Ok(shown(Status::OK, &user))
}

/// `()` becomes 204: it was done, and there is nothing to tell.
fn delete(exchange: &mut Exchange) -> Result<(), Problem> {
    Ok(exchange.state::<Users>().remove(exchange.parse_param("id")?)?)
}

/// `/users?after=20&limit=10`
#[derive(Deserialize)]
struct Window {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Page {
    users: Vec<User>,
    /// Where to go on; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

fn list(exchange: &mut Exchange) -> Result<Json<Page>, Problem> {
    let Window { after, limit } = exchange.query_as()?;
    let limit = limit.unwrap_or(20).clamp(1, PAGE_MAX);
    // One more than is shown tells whether there is a next page.
    let mut users = exchange.state::<Users>().page(after, limit + 1);
    let has_more = users.len() > limit;
    users.truncate(limit);
    let last = users.last().filter(|_| has_more);
    let next = last.map(|user| format!("/users?after={}&limit={limit}", user.id));
    Ok(Json(Page { users, next }))
}

/// All users as a table. It is made page by page, as fast as the client takes it: a million of them need no
/// more memory than a hundred.
fn export(exchange: &mut Exchange) -> Response {
    let users = exchange.state::<Users>().clone();
    Response::stream(Status::OK, "text/csv; charset=utf-8", Table { users, after: None })
}

struct Table {
    users: Users,
    /// The last that was written; before the head line there is none.
    after: Option<u64>,
}

impl BodySource for Table {
    fn next(&mut self) -> Piece {
        let Some(after) = self.after else {
            self.after = Some(0);
            return Piece::Bytes(b"id,name,email\r\n".to_vec());
        };
        let page = self.users.page(after, PAGE_MAX);
        let Some(last) = page.last() else { return Piece::End };
        self.after = Some(last.id);
        Piece::Bytes(page.iter().flat_map(|user| row(user).into_bytes()).collect())
    }
}

/// RFC 4180: quotes around a text, and twice within.
fn row(user: &User) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    format!("{},{},{}\r\n", user.id, quoted(&user.draft.name), quoted(&user.draft.email))
}

/// `/report?ms=2000`
#[derive(Deserialize)]
struct Effort {
    #[serde(default)]
    ms: u64,
}

#[derive(Serialize)]
struct Report {
    users: usize,
}

/// Blocks on purpose, as a slow database does. On a worker: however many of these there are, the handlers
/// above answer as before; beyond what may wait, clients are told 503 at once.
fn report(exchange: &mut Exchange) -> Result<Json<Report>, Problem> {
    const STEP_MS: u64 = 10;
    let Effort { ms } = exchange.query_as()?;
    let _running = exchange.state::<Reports>().begin();
    for _ in 0..ms / STEP_MS {
        // The client has gone, or has its 504: nobody will read this report, so others get the worker.
        if exchange.cancelled() {
            return Err(Status::SERVICE_UNAVAILABLE.into());
        }
        thread::sleep(Duration::from_millis(STEP_MS));
    }
    Ok(Json(Report { users: exchange.state::<Users>().count() }))
}

/// How many reports are being made.
fn running(exchange: &mut Exchange) -> Json<u32> {
    Json(exchange.state::<Reports>().0.load(Ordering::Relaxed))
}

#[derive(Default)]
struct Reports(AtomicU32);

impl Reports {
    fn begin(&self) -> Running<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Running(self)
    }
}

/// A guard, so that a report which returns early or panics is counted out too.
struct Running<'a>(&'a Reports);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn shown(status: Status, user: &User) -> Response {
    Response::json(status, user).with("ETag", etag(user))
}

fn etag(user: &User) -> String {
    format!("\"{}\"", user.version)
}

/// One thing that is wrong with a body, and where: a JSON pointer, as RFC 9457 shows it.
#[derive(Serialize)]
struct Flaw {
    pointer: &'static str,
    detail: &'static str,
}

/// Everything that is wrong with a body: whoever fills in a form wants to know all of it at once.
struct Flaws(Vec<Flaw>);

impl Draft {
    fn checked(self) -> Result<Draft, Flaws> {
        let (name, email) = (self.name.trim(), self.email.split_once('@'));
        let is_address = email.is_some_and(|(who, place)| !who.is_empty() && place.contains('.'));
        let rules = [
            (!name.is_empty(), Flaw { pointer: "#/name", detail: "must not be empty" }),
            (name.chars().count() <= 100, Flaw { pointer: "#/name", detail: "at most 100 characters" }),
            (is_address, Flaw { pointer: "#/email", detail: "must be like ada@example.com" }),
        ];
        let flaws: Vec<Flaw> = rules.into_iter().filter(|(holds, _)| !holds).map(|(_, flaw)| flaw).collect();
        if flaws.is_empty() { Ok(self) } else { Err(Flaws(flaws)) }
    }
}

// From here `?` knows how a refusal is told; handlers need not.

impl From<Flaws> for Problem {
    fn from(Flaws(flaws): Flaws) -> Problem {
        Problem::new(Status::UNPROCESSABLE_CONTENT).detail("some members are not right").with("errors", flaws)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        match refused {
            Refused::Absent(id) => Problem::new(Status::NOT_FOUND).detail("no such user").with("id", id),
            Refused::Changed => {
                Problem::new(Status::PRECONDITION_FAILED).detail("the user has changed since; read it again")
            }
            Refused::Full => Problem::new(Status::SERVICE_UNAVAILABLE).field("Retry-After", "60"),
        }
    }
}
