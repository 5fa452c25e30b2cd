//! An epoll-level HTTP server for Linux: one pinned reactor thread per core, nothing spent on an idle
//! connection.
//!
//! This page tells how to build on it, and is the map of the code. The README tells how to run it.
//!
//! # Use it as a library
//!
//! A server is one expression: [`Server::builder`], what it is told, and [`start`](Builder::start) or
//! [`run`](Builder::run).
//!
//! ```no_run
//! use std::process::ExitCode;
//! use myriapod::{Exchange, Server};
//!
//! fn greet(exchange: &mut Exchange) -> String {
//!     format!("Hello, {}!\n", exchange.param("name").unwrap_or("stranger"))
//! }
//!
//! fn main() -> ExitCode {
//!     Server::builder()
//!         .listen("127.0.0.1:8080")
//!         .get("/", |_: &mut Exchange| "Try /greet/you\n")
//!         .get("/greet/{name}", greet)
//!         .run()
//! }
//! ```
//!
//! **A handler** is a function from an [`Exchange`] to anything that [becomes an answer](IntoResponse), a
//! closure with its argument written out, or a type that implements [`Handler`]. It runs on the reactor,
//! between the requests of others: for microseconds, and without waiting for anything. One that may block
//! says so where it is routed, and runs [`on_workers`](Tune::on_workers); [`Tune`] has its deadline, the
//! limit of its body and its priority as well.
//!
//! **Errors** are [`Problem`]s, which clients read as JSON (RFC 9457). Yours become problems by `From`, and
//! `?` does the rest; so does what the library finds wrong with a body, a query or a path.
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use std::time::Duration;
//! use myriapod::middleware::RequestId;
//! use myriapod::{Exchange, Json, Problem, Server, Status, Tune};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! struct Deposit { amount: u64 }
//! #[derive(Serialize)]
//! struct Balance { total: u64 }
//! #[derive(Default)]
//! struct Account(AtomicU64);
//!
//! enum Refused { Nothing }
//!
//! impl From<Refused> for Problem {
//!     fn from(Refused::Nothing: Refused) -> Problem {
//!         Problem::new(Status::UNPROCESSABLE_CONTENT).detail("a deposit of nothing").with("least", 1)
//!     }
//! }
//!
//! fn deposit(exchange: &mut Exchange) -> Result<Json<Balance>, Problem> {
//!     let Deposit { amount } = exchange.json()?;
//!     if amount == 0 {
//!         return Err(Refused::Nothing.into());
//!     }
//!     let before = exchange.state::<Account>().0.fetch_add(amount, Ordering::Relaxed);
//!     Ok(Json(Balance { total: before + amount }))
//! }
//!
//! /// Takes its time, and looks now and then whether anybody still waits for it.
//! fn audit(exchange: &mut Exchange) -> Result<&'static str, Problem> {
//!     for _page in 0..1_000 {
//!         if exchange.cancelled() {
//!             return Err(Status::SERVICE_UNAVAILABLE.into());
//!         }
//!     }
//!     Ok("all is well\n")
//! }
//!
//! let server = Server::builder()
//!     .listen("127.0.0.1:0")
//!     .workers(4)
//!     .middleware(RequestId::new())
//!     .state(Account::default())
//!     .health()
//!     .post("/deposits", deposit.body_max(1024))
//!     .get("/audit", audit.on_workers().timeout(Duration::from_secs(10)))
//!     .start()?;
//! server.drain();
//! server.join()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | wanted | where |
//! | --- | --- |
//! | parameters of the path | [`param`](Exchange::param), [`parse_param`](Exchange::parse_param) |
//! | a query, by name | [`query_value`](Exchange::query_value), [`query_pairs`](Exchange::query_pairs) |
//! | a query, as a value of yours | [`query_as`](Exchange::query_as) |
//! | fields | [`field`](http::Request::field), [`field_text`](Exchange::field_text) |
//! | a body, whole | [`body`](Exchange::body), [`json`](Exchange::json) |
//! | a body, as it comes | [`streams_body`](Tune::streams_body) and [`body_reader`](Exchange::body_reader) |
//! | an answer, made as it is sent | [`Response::stream`] of a [`BodySource`] |
//! | shared state | [`Builder::state`], [`Exchange::state`] |
//! | deadline and cancellation, to hand on | [`deadline`](Exchange::deadline), [`cancel`](Exchange::cancel) |
//! | what every request passes | [`Middleware`], and those in [`middleware`] |
//! | settings from a command line | [`Builder::config`] |
//!
//! `examples/users` is a whole REST API: create, list by pages, read, replace, delete, export.
//!
//! # The house
//!
//! ```text
//!   main, cli ------ what was written: flags, environment, a file
//!       |
//!    server -------- assembly: budget, threads, signals, reloads, keeper, doctor; knows everybody,
//!       |            known by nobody
//!       |
//!    reactor ------- threads that do I/O; the only one to name mio and socket2
//!     /    \
//!  worker   \ ------ threads that compute; know handlers, not connections
//!     |      \
//! gateway  proto --- decisions about a request | machines over bytes: neither knows the other
//!     \    /
//!      http -------- the words: Method, Status, Request, Response
//!       |
//!      base -------- tools that could be published alone: slots, buffers, pool, wheel, clock,
//!                    sleeper, crew
//!
//!   rails: config (plain data, above http)   observe (counters and logs, above nothing)
//! ```
//! A layer uses those below it and the rails; `tests/tidy.rs` checks every import. Beside the house stands
//! the load generator (`loadtest/`), which knows nothing of it: a twin would share its mistakes.
//!
//! # A request's way
//!
//! ```text
//!  reactor/accept   reactor/floor, client   proto/h1          gateway              worker
//!  ---------------  ----------------------  ----------------  -------------------  ---------------------
//!  accept_some ---> drive -> fill --------> receive --------> decide
//!                                           (HeadIndex)       enter, route -+--> here: Response
//!                                                                           `--> away: dispatch -> lane
//!                                                                                                 |
//!                   settle <- flush <------ respond <-------- finish <----- inbox <---- Job::run -+
//!                   (park, again, close)    (WriteQueue)      (leave)
//! ```
//! A request that a site's route passes on takes the third way:
//!
//! ```text
//!  reactor/client/relay             proto/h1                gateway/upstream    reactor/lines
//!  -------------------------------  ----------------------  ------------------  ----------------------
//!  pass_on -----------------------> ask::write              key, templates
//!  choose  ----------------------------------------------> choose ------------> pick_idle, or dial
//!  converse: send_upload, hear ---> AnswerReader::receive                       write, read
//!     stumble -> again, or fail     (Fault: 502)            ended, may_retry    hang_up
//!     end_answer -----------------> begin_relayed, more     ended               rest: idle again
//! ```
//! One drive moves both sides: the client and its line lie in two slabs, so both are in hand at once, and
//! what comes on a line only marks it and queues the client that uses it.
//!
//! Most answers are given where the head is read. A request whose route wants its body first, or runs on a
//! worker, waits in its connection's [pending](reactor) exchange: a [`Job`](worker::Job) takes it away,
//! buffer and all, and the same box brings the answer back, if anybody still wants it.
//!
//! Six functions tell it all: the turn of a reactor ([`Reactor::run`](reactor::Reactor::run)), the drive of
//! a connection (`reactor/client/`), [`Machine::receive`](proto::h1::Machine::receive),
//! [`Gateway::decide`](gateway::Gateway::decide), [`Job::run`](worker::Job::run) and
//! [`Machine::respond`](proto::h1::Machine::respond).
//!
//! # What holds everywhere
//!
//! - A reactor owns everything it touches: its listeners, connections, buffers, timers and, where the
//!   kernel lets it, its descriptor table. Reactors share counters (one writer each), inboxes and immutable
//!   gateways; no lock on the way of a request, and no reference count on one that is answered here.
//! - A request that is away has one ticket, one permit and one return address. Who takes it and who gives up
//!   waiting cannot both win; an answer that comes too late is counted and dropped; the permit comes home
//!   with the job, so what runs on for nobody stays visible.
//! - What a worker made is dropped by a worker: its descriptors are those of another table.
//! - A gateway holds no descriptor: it is shared by all reactors, and a reload makes and drops it on a thread
//!   of its own. Each reactor opens the directories it serves from, and the compiler keeps them there.
//! - A reload never stops anything: what was decided by the old generation is finished by it, what comes is
//!   decided by the new one. A configuration with a mistake changes nothing.
//! - New connections are spread by the kernel: a small program over counts that reactors keep in a page they
//!   share with it (`reactor/balance/`), or its own hash where that may not be loaded. Reactors never hand
//!   connections to each other.
//! - Causes of work only mark a connection and queue its key; one function drives it; one function is its
//!   way out, and proves that it can wake again.
//! - `proto` and the decisions of `gateway` know no socket, no thread and no clock: bytes and time are
//!   arguments. So the whole floor of a reactor, workers and all, runs in a seeded simulation
//!   (`reactor/sim.rs`).
//! - What may be kept longer than a call is an offset or a key, never a pointer; a key expires with its
//!   tenant.
//! - Everything has a limit with a name ([`Limits`](config::Limits)), and reaching it has an answer.
//! - `unsafe` stands only in `reactor/stream.rs`, `reactor/descriptors.rs`, `reactor/balance/kernel.rs` and
//!   `server/`.
//!
//! # Glossary
//!
//! - **turn**: one round of a reactor: wait, gather, accept, serve.
//! - **drive**: all that is done for one connection in one turn.
//! - **floor**: the connections of one reactor, and who is ready, unfinished, thirsty or parked.
//! - **parked**: waiting for the kernel or a deadline. **Thirsty**: waiting for a buffer. **Unfinished**:
//!   going on with what was begun, a few in each turn, behind all who have news.
//! - **head**: request line and fields. **Exchange**: a request and its answer, numbered on their
//!   connection.
//! - **violation**: the peer broke a rule. **Close reason**: why a connection ended.
//! - **wait**: what a connection waits for, hence which deadline applies.
//! - **entrance**: which kind of listener a connection came by, hence which gateway answers.
//! - **site**: what a configuration file says: routes, steps, upstreams. **Step**: what a route's requests
//!   pass through. **Guard**: a step that may refuse.
//! - **deferred**: not answered at its head. **Away**: with a worker, or waiting for one.
//! - **job**: a request that travels. **Lane**: one reactor's jobs that wait. **Desk**: where they come home.
//!   **Crew**: the workers, those that search and those that sleep. **Post**: what one worker is at.
//! - **permit**: the right to have a job out. **Hungry**: an answer under way that waits for one.
//! - **ticket**: whether a job was begun, and whether anybody wants it.
//! - **refusal**: we have no room; 503. **Overdue**: 504.
//! - **warden**: who watches for handlers that do not return.
//! - **keeper**: who looks after upstreams beside the reactors: names, probes, files that change. **Probe**:
//!   a request of our own that asks whether a server is well.
//! - **balance**: who gets the next connection. **Doctor**: which limit of the host binds first.
//! - **generation**: what requests are answered by between two reloads. **Epoch**: a reactor's hold on one.
//! - **upstream**: servers that do the same; **cluster**: one whose names are looked up; **endpoint**: one of
//!   its addresses. **Line**: a connection to one. **Relay**: an exchange that is passed on. **Try**: one
//!   server asked, once. **Trouble**: why a try failed. **Tunnel**: a relay that speaks another protocol.
//! - **vitals**: what all reactors know of an endpoint. **Breaker**, **ejection**, **probe**: who finds it
//!   ill. **Fallback**: what answers when no server can.
//! - **drain**: leaving in good order: no new connections, requests under way are answered.

pub mod base;
pub mod cli;
pub mod config;
pub mod gateway;
pub mod http;
pub mod observe;
pub mod proto;
pub mod reactor;
pub mod server;
pub mod worker;

pub use gateway::handler::{Handler, Tune};
pub use gateway::middleware::{self, Flow, Middleware};
pub use gateway::{Exchange, IntoResponse, Json, Notes, Problem};
pub use http::{Body, BodySource, Method, MethodSet, Piece, Response, Status};
pub use server::{Builder, Server};

/// What the README shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
