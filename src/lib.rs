//! An epoll-level HTTP server for Linux: one pinned reactor thread per core, nothing spent on an idle
//! connection.
//!
//! This page is the map of the code. The README tells how to run it.
//!
//! # The house
//!
//! ```text
//!   main, cli ------ what was written: flags, environment
//!       |
//!    server -------- assembly: budget, threads, signals; knows everybody, known by nobody
//!       |
//!    reactor ------- threads that do I/O; the only one to name mio and socket2
//!     /    \
//! gateway  proto --- decisions about a request | machines over bytes: neither knows the other
//!     \    /
//!      http -------- the words: Method, Status, Request, Response
//!       |
//!      base -------- tools that could be published alone: slots, buffers, pool, wheel, clock
//!
//!   rails: config (plain data, above http)   observe (counters and logs, above nothing)
//! ```
//! A layer uses those below it and the rails; `tests/tidy.rs` checks every import.
//!
//! # A request's way
//!
//! ```text
//!  reactor/accept   reactor/floor, client   proto/h1          gateway
//!  ---------------  ----------------------  ----------------  -------------------------
//!  accept_some ---> drive -> fill --------> receive --------> answer
//!                                           (HeadIndex)       files, then endpoints
//!                   settle <- flush <------ respond <-------- Response
//!                   (park, again, close)    (WriteQueue)
//! ```
//! Five functions tell it all: the turn of a reactor ([`Reactor::run`](reactor::Reactor::run)), the drive of
//! a connection (`reactor/client/`), [`Machine::receive`](proto::h1::Machine::receive),
//! [`Gateway::answer`](gateway::Gateway::answer) and [`Machine::respond`](proto::h1::Machine::respond).
//!
//! # What holds everywhere
//!
//! - A reactor owns everything it touches: its listeners, connections, buffers, timers and, where the
//!   kernel lets it, its descriptor table. Reactors share counters (one writer each), inboxes and immutable
//!   gateways; no lock, no reference count on the way of a request.
//! - Causes of work only mark a connection and queue its key; one function drives it; one function is its
//!   way out, and proves that it can wake again.
//! - `proto` and `gateway` know no socket, no thread and no clock: bytes and time are arguments. So the
//!   whole floor of a reactor runs in a seeded simulation (`reactor/sim.rs`).
//! - What may be kept longer than a call is an offset or a key, never a pointer; a key expires with its
//!   tenant.
//! - Everything has a limit with a name ([`Limits`](config::Limits)), and reaching it has an answer.
//! - `unsafe` stands only in `reactor/stream.rs`, `reactor/descriptors.rs` and `server/`.
//!
//! # Glossary
//!
//! - **turn**: one round of a reactor: wait, gather, accept, serve.
//! - **drive**: all that is done for one connection in one turn.
//! - **floor**: the connections of one reactor, and who is ready, thirsty or parked.
//! - **parked**: waiting for the kernel or a deadline. **Thirsty**: waiting for a buffer.
//! - **head**: request line and fields. **Exchange**: a request and its answer, numbered on their
//!   connection.
//! - **violation**: the peer broke a rule. **Close reason**: why a connection ended.
//! - **wait**: what a connection waits for, hence which deadline applies.
//! - **site**: which kind of listener a connection came by, hence which gateway answers.
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
