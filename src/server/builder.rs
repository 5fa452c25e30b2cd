//! A server of your own, said in one expression: settings, state, middleware, routes.
//!
//! Promises: what is wrong with a setting is told at the start, all of it at once; what is wrong with a
//! pattern is a mistake in the program, and panics there with the pattern's name. Nothing is served that was
//! not asked for.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::config::resolve::{QUEUE_DEPTH_MAX, REACTORS_MAX, TIMEOUT_MS_MAX, WORKERS_MAX};
use crate::config::{Config, ConfigError, DescriptorTable, Endpoints, Listen};
use crate::gateway::handler::Handler;
use crate::gateway::middleware::Middleware;
use crate::http::{Method, MethodSet};
use crate::server::Server;
use crate::server::app::App;
use crate::server::reload::Source;
use crate::server::run;
use crate::server::start_error::StartError;

/// See [`Server::builder`].
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use myriapod::{Exchange, Server, Tune};
///
/// #[derive(Default)]
/// struct Visits(AtomicU64);
///
/// fn greet(exchange: &mut Exchange) -> String {
///     let number = exchange.state::<Visits>().0.fetch_add(1, Ordering::Relaxed);
///     format!("Hello, {}! You are visitor {number}.\n", exchange.param("name").unwrap_or("stranger"))
/// }
///
/// let server = Server::builder()
///     .listen("127.0.0.1:0")
///     .state(Visits::default())
///     .get("/", |_: &mut Exchange| "Try /greet/you\n")
///     .get("/greet/{name}", greet)
///     .post("/slow", (|_: &mut Exchange| ()).on_workers())
///     .start()?;
/// println!("{}", server.listen()[0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Patterns are those of [`Router::entry`](crate::gateway::route::Router::entry). A path with a route for GET
/// answers HEAD too; OPTIONS is answered with what is allowed, and other methods are refused with 405.
///
/// All threads share the process's table of descriptors, unless the settings ask for
/// [`DescriptorTable::Private`]: in a private one, a file or socket that the program opened elsewhere is not
/// the same, and a handler on a reactor must not use one.
#[must_use = "a builder does nothing until `start` or `run`"]
#[derive(Default)]
pub struct Builder {
    config: Config,
    /// In place of those of the settings, if there are any.
    listen: Vec<Listen>,
    endpoints: Option<Endpoints>,
    mistakes: Vec<ConfigError>,
    app: App,
}

/// Settings. Whatever has no method here is in [`Config`].
impl Builder {
    /// Settings from elsewhere, a command line for example, in place of those said before. Addresses given to
    /// [`listen`](Builder::listen) win over its own, and which built-in endpoints are served is not taken
    /// from it: see [`health`](Builder::health).
    pub fn config(self, config: Config) -> Builder {
        Builder { config, ..self }
    }

    /// Listens there: `127.0.0.1:8080`, `:8080`, `unix:/run/app.sock`. Each call adds an address; without any
    /// it is `127.0.0.1:8080`.
    pub fn listen(mut self, address: impl AsRef<str>) -> Builder {
        match address.as_ref().parse() {
            Ok(address) => self.listen.push(address),
            Err(mistake) => self.mistakes.push(mistake),
        }
        self
    }

    /// Serves health and metrics at an address of their own.
    pub fn admin(mut self, address: impl AsRef<str>) -> Builder {
        match address.as_ref().parse() {
            Ok(address) => self.config.fixed.admin = Some(address),
            Err(mistake) => self.mistakes.push(mistake),
        }
        self
    }

    /// How many threads do I/O; otherwise one per CPU.
    pub fn reactors(mut self, count: u32) -> Builder {
        let count = self.checked("reactors", count, 1, REACTORS_MAX);
        self.config.fixed.reactors = Some(count);
        self
    }

    /// How many threads run handlers that may block; otherwise one per CPU.
    pub fn workers(mut self, count: u32) -> Builder {
        let count = self.checked("workers", count, 0, WORKERS_MAX);
        self.config.fixed.workers = Some(count);
        self
    }

    /// How many requests of one reactor may wait for a worker. Over it: 503 at once.
    pub fn queue_depth(mut self, count: u32) -> Builder {
        self.config.fixed.queue_depth = self.checked("queue_depth", count, 1, QUEUE_DEPTH_MAX);
        self
    }

    /// How long a request may wait for a worker. Over it: 503. `None`: as long as its answer may take.
    pub fn queue_timeout(mut self, time: impl Into<Option<Duration>>) -> Builder {
        self.config.fixed.queue_ms_max = time.into().map(|time| self.milliseconds("queue_timeout", time));
        self
    }

    /// From a complete request to its worker's answer. Over it: 504, and the handler is told to give up.
    /// `None`: as long as the handler likes. [`Tune::timeout`](crate::gateway::handler::Tune::timeout) says
    /// it for one route.
    pub fn request_timeout(mut self, time: impl Into<Option<Duration>>) -> Builder {
        self.config.fixed.request_ms_max = time.into().map(|time| self.milliseconds("request_timeout", time));
        self
    }

    /// How long a drain may take.
    pub fn drain_timeout(mut self, time: Duration) -> Builder {
        self.config.fixed.drain_ms_max = self.milliseconds("drain_timeout", time);
        self
    }

    /// Bytes of a body that is collected for a handler. Over it: 413.
    /// [`Tune::body_max`](crate::gateway::handler::Tune::body_max) says it for one route.
    pub fn body_max(mut self, bytes: u64) -> Builder {
        self.config.limits.collected_bytes_max = bytes;
        self
    }

    fn checked(&mut self, name: &str, value: u32, least: u32, most: u32) -> u32 {
        if !(least..=most).contains(&value) {
            self.mistaken(name, format!("{value}"), format!("write {least} to {most}"));
        }
        value
    }

    fn milliseconds(&mut self, name: &str, time: Duration) -> u32 {
        // Less than a millisecond is no time; rounding up says what was meant.
        let ms = u32::try_from(time.as_micros().div_ceil(1_000)).unwrap_or(u32::MAX);
        if !(1..=TIMEOUT_MS_MAX).contains(&ms) {
            self.mistaken(
                name,
                format!("{time:?}"),
                String::from("write more than nothing and at most a week"),
            );
        }
        ms
    }

    fn mistaken(&mut self, name: &str, value: String, problem: String) {
        let written = format!("{name}({value})");
        self.mistakes.push(ConfigError { written, problem, excerpt: None });
    }
}

/// What is served.
impl Builder {
    /// Shares a value with all handlers, one of each type; they find it by
    /// [`Exchange::state`](crate::gateway::Exchange::state).
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Builder {
        self.app.state.keep(value);
        self
    }

    /// Sends every request through a middleware, behind those that were given before.
    pub fn middleware(mut self, middleware: impl Middleware) -> Builder {
        self.app.pass_through(middleware);
        self
    }

    /// Answers GET, and HEAD by the same handler.
    pub fn get(self, pattern: &str, handler: impl Handler) -> Builder {
        self.route(MethodSet::of(&[Method::Get]), pattern, handler)
    }

    /// Answers HEAD in another way than GET.
    pub fn head(self, pattern: &str, handler: impl Handler) -> Builder {
        self.route(MethodSet::of(&[Method::Head]), pattern, handler)
    }

    /// Answers POST.
    pub fn post(self, pattern: &str, handler: impl Handler) -> Builder {
        self.route(MethodSet::of(&[Method::Post]), pattern, handler)
    }

    /// Answers PUT.
    pub fn put(self, pattern: &str, handler: impl Handler) -> Builder {
        self.route(MethodSet::of(&[Method::Put]), pattern, handler)
    }

    /// Answers PATCH.
    pub fn patch(self, pattern: &str, handler: impl Handler) -> Builder {
        self.route(MethodSet::of(&[Method::Patch]), pattern, handler)
    }

    /// Answers DELETE.
    pub fn delete(self, pattern: &str, handler: impl Handler) -> Builder {
        self.route(MethodSet::of(&[Method::Delete]), pattern, handler)
    }

    /// Answers OPTIONS in another way than with `Allow`.
    pub fn options(self, pattern: &str, handler: impl Handler) -> Builder {
        self.route(MethodSet::of(&[Method::Options]), pattern, handler)
    }

    /// Answers several methods by one handler.
    pub fn route(mut self, methods: MethodSet, pattern: &str, handler: impl Handler) -> Builder {
        self.app.serve(methods, pattern, handler);
        self
    }

    /// Has the configuration read anew whenever [somebody asks](Server::reloader): routes, upstreams and
    /// limits take effect without a restart. What was said here, and not in settings, stays.
    pub fn reload_from(mut self, source: Source) -> Builder {
        self.app.source = Some(source);
        self
    }

    /// Serves the files of a directory at `/`, before any route.
    pub fn files(mut self, directory: impl Into<PathBuf>) -> Builder {
        self.config.fixed.root = Some(directory.into());
        self
    }

    /// Serves `/healthz` and `/readyz`, for load balancers and orchestrators.
    pub fn health(self) -> Builder {
        self.endpoints(Endpoints::Health)
    }

    /// Serves these of the built-in endpoints; none unless it is said.
    pub fn endpoints(self, endpoints: Endpoints) -> Builder {
        Builder { endpoints: Some(endpoints), ..self }
    }
}

/// The end of the expression.
impl Builder {
    /// Starts the server. It runs until it is dropped, or [drained](Server::drain) and
    /// [joined](Server::join).
    ///
    /// # Errors
    /// Every setting that cannot be, or the first thing that stands in the way, with its fix.
    ///
    /// # Panics
    /// When a pattern is malformed, stands in the way of another or has a route for such a method already.
    pub fn start(self) -> Result<Server, StartError> {
        let Builder { mut config, listen, endpoints, mistakes, app } = self;
        if !mistakes.is_empty() {
            return Err(StartError::Settings(mistakes));
        }
        let fixed = &mut config.fixed;
        fixed.endpoints = endpoints.unwrap_or(Endpoints::None);
        if !listen.is_empty() {
            fixed.listen = listen;
        }
        // A program's own descriptors, of a log or of a socket to somewhere, mean something else in a private
        // table, or nothing: a handler could write into a stranger's connection. So it must be wished for.
        if fixed.descriptor_table == DescriptorTable::Auto {
            fixed.descriptor_table = DescriptorTable::Shared;
        }
        Server::start_with(&config, app)
    }

    /// Starts the server, tells on standard error where it listens, and serves until SIGTERM or SIGINT; then
    /// drains. For the last line of `main`: whatever goes wrong is told in one line with its fix.
    ///
    /// A second signal ends the process at once.
    ///
    /// # Panics
    /// As [`start`](Builder::start).
    #[must_use]
    pub fn run(self) -> ExitCode {
        run(self.start())
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Builder").field("routes", &self.app.patterns).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Exchange;
    use crate::gateway::handler::Tune;

    fn hello(_: &mut Exchange) -> &'static str {
        "hello"
    }

    fn refused(builder: Builder) -> String {
        builder.listen("127.0.0.1:0").start().err().expect("refused").to_string()
    }

    #[test]
    fn every_mistaken_setting_is_told_at_once() {
        let told = refused(
            Server::builder()
                .listen("example.com:80")
                .queue_depth(0)
                .request_timeout(Duration::ZERO)
                .admin("x"),
        );
        let parts: Vec<&str> = told.split("; ").collect();
        assert!(parts[0].starts_with("example.com:80: names are not looked up"), "{told}");
        assert!(told.contains("queue_depth(0): write 1 to 65536"), "{told}");
        assert!(told.contains("request_timeout(0ns): write more than nothing and at most a week"), "{told}");
        assert!(told.contains("x: not an address"), "{told}");
    }

    #[test]
    fn a_route_on_workers_needs_one() {
        let told = refused(Server::builder().workers(0).get("/slow", hello.on_workers()));
        assert!(told.contains("/slow runs on workers"), "{told}");
    }

    #[test]
    #[should_panic(expected = "route GET /a: already taken")]
    fn two_routes_for_one_method_are_named() {
        let _ = Server::builder().listen("127.0.0.1:0").get("/a", hello).get("/a", hello).start();
    }

    #[test]
    #[should_panic(expected = "route /a/{b: ")]
    fn a_malformed_pattern_is_named() {
        let _ = Server::builder().listen("127.0.0.1:0").get("/a/{b", hello).start();
    }
}
