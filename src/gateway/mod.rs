//! Decisions about a request: who answers it, and what every answer has in common.
//!
//! Pure: no sockets, no threads, no clock. Knows neither how a request came nor how its answer leaves.

pub mod access_log;
pub mod answer;
mod edits;
mod exchange;
pub mod guard;
pub mod handler;
pub mod json;
pub mod middleware;
pub mod notes;
pub mod problem;
mod query;
pub mod route;
pub mod site;
mod ticket;
pub mod upstream;

use std::sync::Arc;

pub use answer::IntoResponse;
pub use edits::Edits;
pub use exchange::{Arrival, BodyReader, Exchange, Incoming};
pub use json::Json;
pub use notes::{Notes, State};
pub use problem::Problem;
pub use ticket::{Cancel, Ticket};

use crate::base::guarded::guarded;
use crate::config::Dispatch;
use crate::gateway::handler::files::{Files, Folders};
use crate::gateway::handler::{BodyPlan, Handler, Place};
use crate::gateway::middleware::{Chain, Middleware};
use crate::gateway::route::{Route, Router, Terms};
use crate::gateway::site::Site;
use crate::http::{Body, Fields, FixedAnswer, Method, MethodSet, Request, Response, Status};

/// What one kind of listener serves: a site's routes first, then files, then endpoints, then 404.
#[derive(Default)]
pub struct Gateway {
    site: Option<Arc<Site>>,
    files: Option<Files>,
    router: Router<Resource>,
    chain: Chain,
    state: Arc<State>,
    dispatch: Dispatch,
}

/// What is served at one path: a route for each method.
#[derive(Clone, Default)]
struct Resource {
    by_method: [Option<Arc<Route>>; Method::ALL.len()],
    methods: MethodSet,
}

/// What becomes of a request whose head was read.
pub enum Decision<'g> {
    /// It has the answer that everybody has.
    Fixed(FixedAnswer),
    /// It is answered.
    Answer(Response),
    /// It is answered 500, because its handler panicked; nobody else's is touched.
    Panicked(Response),
    /// Its route wants the body first, or runs on a worker.
    Defer(&'g Arc<Route>),
    /// It is passed on, as the site's route of that number says.
    Relay(usize),
}

impl Gateway {
    /// A gateway that answers 404 to everything.
    #[must_use]
    pub fn new() -> Gateway {
        Gateway::default()
    }

    /// Serves these files at `/`, before any endpoint.
    #[must_use]
    pub fn with_files(mut self, files: Files) -> Gateway {
        self.files = Some(files);
        self
    }

    /// The same with another site, or none: endpoints, middleware and state are shared with this one.
    #[must_use]
    pub fn renewed(&self, site: Option<Arc<Site>>) -> Gateway {
        Gateway {
            site,
            files: self.files.clone(),
            router: self.router.clone(),
            chain: self.chain.clone(),
            state: Arc::clone(&self.state),
            dispatch: self.dispatch,
        }
    }

    /// The directories it serves from, opened by and for the calling thread.
    #[must_use]
    pub fn open_folders(&self) -> Folders {
        let of_site = self.site.iter().flat_map(|site| site.files());
        Folders::of(self.files.iter().chain(of_site))
    }

    /// Serves a site, before anything else.
    #[must_use]
    pub fn with_site(mut self, site: Arc<Site>) -> Gateway {
        self.site = Some(site);
        self
    }

    /// The site it serves.
    #[must_use]
    #[inline]
    pub fn site(&self) -> Option<&Site> {
        self.site.as_deref()
    }

    /// Says where handlers run: as they ask, all on the reactor, or all on workers. To be said before the
    /// first route.
    #[must_use]
    pub fn with_dispatch(self, dispatch: Dispatch) -> Gateway {
        Gateway { dispatch, ..self }
    }

    /// Shares this state with every handler. To be said before the first route.
    #[must_use]
    pub fn with_state(self, state: State) -> Gateway {
        Gateway { state: Arc::new(state), ..self }
    }

    /// Sends every request through a middleware, behind those that were given before.
    #[must_use]
    pub fn with_middleware(mut self, middleware: impl Middleware) -> Gateway {
        self.chain.push(middleware);
        self
    }

    /// Serves an endpoint at a pattern such as `/users/{id}`, for the methods that it names itself.
    ///
    /// # Panics
    /// As [`with_route`](Gateway::with_route).
    #[must_use]
    pub fn with(self, pattern: &str, handler: impl Handler) -> Gateway {
        let methods = handler.methods();
        self.with_route(methods, pattern, Box::new(handler), Terms::default())
    }

    /// Serves a handler at a pattern, for these methods.
    ///
    /// # Panics
    /// When the pattern is malformed, stands in the way of another or has a route for such a method already:
    /// patterns are written by programmers.
    #[must_use]
    pub fn with_route(
        mut self,
        methods: MethodSet,
        pattern: &str,
        handler: Box<dyn Handler>,
        terms: Terms,
    ) -> Gateway {
        let terms = terms.over(handler.terms());
        let place = self.place_for(&*handler, &terms);
        let route = Arc::new(Route::new(pattern, handler, terms, place, Arc::clone(&self.state)));
        self.router.entry(pattern).add(methods, &route);
        self
    }

    fn place_for(&self, handler: &dyn Handler, terms: &Terms) -> Place {
        match self.dispatch {
            Dispatch::Auto if terms.body.unwrap_or(handler.body()) == BodyPlan::Stream => Place::Worker,
            Dispatch::Auto => terms.place.unwrap_or(handler.place()),
            Dispatch::Inline => Place::Reactor,
            Dispatch::Queue => Place::Worker,
        }
    }

    /// The first route that runs on a worker, if one does.
    #[must_use]
    pub fn worker_route(&self) -> Option<&Route> {
        let routes = self.router.targets().flat_map(|resource| resource.by_method.iter().flatten());
        routes.map(|route| &**route).find(|route| route.place() == Place::Worker)
    }

    /// Answers a request, or says who will.
    #[inline]
    pub fn decide<'g: 'r, 'r>(&'g self, exchange: &mut Exchange<'r>) -> Decision<'g> {
        // A handler is shared by all requests and must stand a panic of one of them: what it keeps is its
        // own to guard, as with any value behind a lock.
        guarded(|| match self.chain.is_empty() && self.site.is_none() {
            true => self.choose(exchange),
            false => self.choose_behind_chain(exchange),
        })
        .unwrap_or_else(|| {
            let mut response = Response::plain(Status::INTERNAL_SERVER_ERROR);
            self.finish(exchange.notes(), &mut response);
            Decision::Panicked(response)
        })
    }

    /// The answer to a request that can be answered at its head; `None`: its route wants more, or panicked.
    #[must_use]
    #[inline]
    pub fn answer(&self, request: Request<'_>) -> Option<Response> {
        match self.decide(&mut Exchange::new(request, &mut Notes::default())) {
            Decision::Fixed(answer) => Some(answer.into()),
            Decision::Answer(response) => Some(response),
            Decision::Panicked(_) | Decision::Defer(_) | Decision::Relay(_) => None,
        }
    }

    /// What every answer has in common, for one that was not made by [`decide`](Gateway::decide).
    pub fn finish(&self, notes: &Notes, response: &mut Response) {
        if !notes.is_blank() {
            // What is answered stands, even if a middleware panics here and others do not see the answer.
            let _ = guarded(|| self.leave(notes, response));
        }
    }

    /// Out past all that the request had passed, the last first.
    fn leave(&self, notes: &Notes, response: &mut Response) {
        if let Some(site) = &self.site {
            site.finish(notes, response);
        }
        self.chain.leave(notes.entered(), notes, response);
    }

    #[inline(never)]
    fn choose_behind_chain<'g: 'r, 'r>(&'g self, exchange: &mut Exchange<'r>) -> Decision<'g> {
        let decision = match self.chain.enter(exchange, Notes::set_entered) {
            Some(response) => Decision::Answer(response),
            None => self.choose_with_site(exchange),
        };
        let mut response = match decision {
            Decision::Fixed(answer) => answer.into(),
            Decision::Answer(response) => response,
            decision => return decision,
        };
        self.leave(exchange.notes(), &mut response);
        Decision::Answer(response)
    }

    #[inline]
    fn choose_with_site<'g: 'r, 'r>(&'g self, exchange: &mut Exchange<'r>) -> Decision<'g> {
        let is_refused = matches!(exchange.method(), Method::Unknown | Method::Trace | Method::Connect);
        let decision = self.site.as_ref().filter(|_| !is_refused).and_then(|site| site.decide(exchange));
        decision.unwrap_or_else(|| self.choose(exchange))
    }

    // A call of its own costs a request 2 % of what it takes besides the kernel's part.
    #[inline(always)]
    fn choose<'g: 'r, 'r>(&'g self, exchange: &mut Exchange<'r>) -> Decision<'g> {
        let (method, path) = (exchange.method(), exchange.path_bytes());
        // RFC 9110 section 9.1: what nobody here knows is 501. TRACE would reflect credentials (section
        // 9.3.8).
        if matches!(method, Method::Unknown | Method::Trace | Method::Connect) {
            return Decision::Answer(Response::plain(Status::NOT_IMPLEMENTED));
        }
        if self.files.is_none()
            && let Some(resource) = self.router.find_exact(path)
        {
            return resource.decide(exchange);
        }
        self.choose_among_all(exchange)
    }

    #[inline(never)]
    fn choose_among_all<'g: 'r, 'r>(&'g self, exchange: &mut Exchange<'r>) -> Decision<'g> {
        let found = self.router.find(exchange.path_bytes());
        if let Some(answer) =
            self.files.as_ref().and_then(|files| files.answer(&exchange.request(), "", exchange.folders()))
        {
            // A file for which there is no descriptor left need not exist: an endpoint of that name, as
            // for health, answers without one.
            if answer.status != Status::SERVICE_UNAVAILABLE || found.is_none() {
                return Decision::Answer(answer);
            }
        }
        match found {
            Some((resource, params)) => {
                exchange.take_params(params);
                resource.decide(exchange)
            }
            // RFC 9110 section 9.3.7: `*` asks about the server as a whole.
            None if exchange.path_bytes() == b"*" => {
                Decision::Answer(allowed(Status::NO_CONTENT, MethodSet::READ))
            }
            None => Decision::Answer(Response::plain(Status::NOT_FOUND)),
        }
    }
}

impl Resource {
    fn add(&mut self, methods: MethodSet, route: &Arc<Route>) {
        // OPTIONS among others says that it is answered, which is done here; alone, that it is wanted.
        const OPTIONS: MethodSet = MethodSet::of(&[Method::Options]);
        let is_wanted = |method: Method| method != Method::Options || methods == OPTIONS;
        let asked = |method: &Method| methods.contains(*method) && is_wanted(*method);
        for method in Method::ALL.into_iter().filter(asked) {
            let place = &mut self.by_method[method as usize];
            assert!(place.is_none(), "route {} {}: already taken", method.as_str(), route.pattern());
            *place = Some(Arc::clone(route));
        }
        self.methods = self.methods.union(methods).union(MethodSet::of(&[Method::Options]));
        if methods.contains(Method::Get) {
            self.methods = self.methods.union(MethodSet::READ);
        }
    }

    #[inline]
    fn decide<'g: 'r, 'r>(&'g self, exchange: &mut Exchange<'r>) -> Decision<'g> {
        let Some(route) = self.route(exchange.method()) else {
            return Decision::Answer(self.without_route(exchange.method()));
        };
        exchange.take_route(route);
        if !route.is_immediate(exchange.framing()) {
            return Decision::Defer(route);
        }
        match route.fixed() {
            Some(answer) => Decision::Fixed(answer),
            None => Decision::Answer(route.handler().handle(exchange)),
        }
    }

    /// HEAD is answered as GET, unless it has a route of its own.
    #[inline]
    fn route(&self, method: Method) -> Option<&Arc<Route>> {
        match &self.by_method[method as usize] {
            None if method == Method::Head => self.by_method[Method::Get as usize].as_ref(),
            route => route.as_ref(),
        }
    }

    #[cold]
    fn without_route(&self, method: Method) -> Response {
        match method {
            Method::Options => allowed(Status::NO_CONTENT, self.methods),
            _ => allowed(Status::METHOD_NOT_ALLOWED, self.methods),
        }
    }
}

/// RFC 9110 section 10.2.1.
#[cold]
fn allowed(status: Status, methods: MethodSet) -> Response {
    Response::plain(status).with("Allow", methods.to_string())
}

/// An answer of bytes made here, never to be stored by a cache in between.
fn fresh(content_type: &str, body: Vec<u8>) -> Response {
    let fields = Fields::fixed("Cache-Control: no-store\r\n").with("Content-Type", content_type);
    Response { status: Status::OK, fields, body: Body::Owned(body) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::handler::Tune;
    use crate::gateway::middleware::Flow;
    use crate::http::{Framing, HeadIndex, Span};

    fn decision<T>(
        gateway: &Gateway,
        method: Method,
        path: &str,
        look: impl FnOnce(Decision<'_>, &Notes) -> T,
    ) -> T {
        let index = HeadIndex { method, path: Span::new(0, path.len()), ..HeadIndex::default() };
        let mut notes = Notes::default();
        let decision = gateway.decide(&mut Exchange::new(Request::new(&index, path.as_bytes()), &mut notes));
        look(decision, &notes)
    }

    fn answer(gateway: &Gateway, method: Method, path: &str) -> Response {
        decision(gateway, method, path, |decision, _| match decision {
            Decision::Fixed(answer) => answer.into(),
            Decision::Answer(response) | Decision::Panicked(response) => response,
            Decision::Defer(_) | Decision::Relay(_) => panic!("{path} is deferred"),
        })
    }

    fn lines(response: &Response) -> String {
        String::from_utf8(response.fields.lines().concat()).unwrap()
    }

    fn route(gateway: Gateway, method: Method, pattern: &str, handler: impl Handler) -> Gateway {
        gateway.with_route(MethodSet::of(&[method]), pattern, Box::new(handler), Terms::default())
    }

    #[test]
    fn methods_are_refused_by_who_knows_them() {
        let gateway = Gateway::new().with("/a", handler::Plaintext);
        let status = |method, path| answer(&gateway, method, path).status;
        assert_eq!(status(Method::Get, "/a"), Status::OK);
        assert_eq!(status(Method::Post, "/a"), Status::METHOD_NOT_ALLOWED);
        assert_eq!(status(Method::Options, "/a"), Status::NO_CONTENT);
        assert_eq!(status(Method::Options, "*"), Status::NO_CONTENT);
        assert_eq!(status(Method::Trace, "/a"), Status::NOT_IMPLEMENTED);
        assert_eq!(status(Method::Unknown, "/b"), Status::NOT_IMPLEMENTED);
        assert_eq!(status(Method::Get, "/b"), Status::NOT_FOUND);
    }

    #[test]
    fn a_path_has_a_route_for_each_method() {
        let gateway = route(Gateway::new(), Method::Get, "/users/{id}", |exchange: &mut Exchange| {
            format!("{} at {}", exchange.param("id").unwrap_or_default(), exchange.pattern())
        });
        let gateway = route(gateway, Method::Delete, "/users/{id}", |_: &mut Exchange| ());
        let shown = answer(&gateway, Method::Get, "/users/7");
        assert!(matches!(&shown.body, Body::Owned(body) if body == b"7 at /users/{id}"));
        assert_eq!(answer(&gateway, Method::Head, "/users/7").status, Status::OK, "as GET");
        assert_eq!(answer(&gateway, Method::Delete, "/users/7").status, Status::NO_CONTENT);
        let refused = answer(&gateway, Method::Post, "/users/7");
        assert!(lines(&refused).contains("Allow: GET, HEAD, DELETE, OPTIONS\r\n"), "{}", lines(&refused));
    }

    #[test]
    #[should_panic(expected = "already taken")]
    fn two_routes_for_one_method_are_a_mistake() {
        let gateway = route(Gateway::new(), Method::Get, "/a", handler::Plaintext);
        let _ = route(gateway, Method::Get, "/a", handler::Json);
    }

    #[test]
    fn a_panic_costs_one_request() {
        let gateway = Gateway::new().with("/a", handler::Plaintext);
        let gateway = route(gateway, Method::Get, "/panics", |_: &mut Exchange| -> () { panic!("as told") });
        let is_panic = decision(
            &gateway,
            Method::Get,
            "/panics",
            |decision, _| matches!(decision, Decision::Panicked(response) if response.status == Status::INTERNAL_SERVER_ERROR),
        );
        assert!(is_panic);
        assert_eq!(answer(&gateway, Method::Get, "/a").status, Status::OK);
    }

    #[test]
    fn what_is_not_answered_at_the_head_is_deferred() {
        let is_deferred = |dispatch, terms, framing| {
            let gateway = Gateway::new().with_dispatch(dispatch).with_route(
                MethodSet::of(&[Method::Post]),
                "/a",
                Box::new(|_: &mut Exchange| "done"),
                terms,
            );
            let index =
                HeadIndex { method: Method::Post, path: Span::new(0, 2), framing, ..HeadIndex::default() };
            gateway.answer(Request::new(&index, b"/a")).is_none()
        };
        let on_workers = Terms { place: Some(Place::Worker), ..Terms::default() };
        let here = Terms::default();
        assert!(!is_deferred(Dispatch::Auto, here, Framing::None));
        assert!(is_deferred(Dispatch::Auto, here, Framing::Length(1)), "its body is to come");
        assert!(is_deferred(Dispatch::Auto, on_workers, Framing::None));
        assert!(!is_deferred(Dispatch::Inline, on_workers, Framing::None));
        assert!(is_deferred(Dispatch::Queue, here, Framing::None));
    }

    #[test]
    fn what_a_handler_says_of_itself_holds_for_its_route() {
        let route_of = |dispatch, handler: Box<dyn Handler>, terms| {
            let methods = MethodSet::of(&[Method::Get]);
            let gateway = Gateway::new().with_dispatch(dispatch).with_route(methods, "/a", handler, terms);
            let found = gateway.router.targets().next().and_then(|resource| resource.by_method[0].clone());
            found.expect("a route")
        };
        let hello = |_: &mut Exchange| "hello";
        let told = route_of(Dispatch::Auto, Box::new(hello.on_workers().body_max(5)), Terms::default());
        assert_eq!((told.place(), told.terms().body_bytes_max), (Place::Worker, Some(5)));
        let here = Terms { place: Some(Place::Reactor), ..Terms::default() };
        let overruled = route_of(Dispatch::Auto, Box::new(hello.on_workers().body_max(5)), here);
        assert_eq!((overruled.place(), overruled.terms().body_bytes_max), (Place::Reactor, Some(5)));
        let waits = route_of(Dispatch::Auto, Box::new(hello.streams_body()), here);
        assert_eq!((waits.place(), waits.body()), (Place::Worker, BodyPlan::Stream), "it would block");
        let may_not = route_of(Dispatch::Inline, Box::new(hello.streams_body()), here);
        assert_eq!((may_not.place(), may_not.body()), (Place::Reactor, BodyPlan::Collect), "nor here");
    }

    #[test]
    fn options_may_have_a_route_of_their_own() {
        let gateway = route(Gateway::new(), Method::Options, "/a", |_: &mut Exchange| "own");
        assert_eq!(answer(&gateway, Method::Options, "/a").status, Status::OK);
        let refused = answer(&gateway, Method::Get, "/a");
        assert!(lines(&refused).contains("Allow: OPTIONS\r\n"), "{}", lines(&refused));
    }

    /// Answers what it is told to, and leaves a trace on what passes.
    struct Stamps(&'static str, Option<Status>);

    impl Middleware for Stamps {
        fn enter(&self, _: &mut Exchange<'_>) -> Flow {
            self.1.map_or(Flow::On, |status| Flow::Answer(Response::empty(status)))
        }

        fn leave(&self, _: &Notes, response: &mut Response) {
            response.fields.push("X-Passed", self.0);
        }
    }

    #[test]
    fn middleware_is_left_in_reverse_and_only_where_it_was_entered() {
        let gateway = Gateway::new()
            .with_middleware(Stamps("outer", None))
            .with_middleware(Stamps("guard", Some(Status::FORBIDDEN)))
            .with_middleware(Stamps("inner", None))
            .with("/a", handler::Plaintext);
        let answer = answer(&gateway, Method::Get, "/a");
        assert_eq!(answer.status, Status::FORBIDDEN);
        assert_eq!(lines(&answer), "X-Passed: guard\r\nX-Passed: outer\r\n");
    }

    #[test]
    fn a_deferred_answer_leaves_by_the_middleware_it_came_by() {
        let gateway = Gateway::new()
            .with_dispatch(Dispatch::Queue)
            .with_middleware(Stamps("one", None))
            .with("/a", handler::Plaintext);
        let mut response = Response::plain(Status::GATEWAY_TIMEOUT);
        decision(&gateway, Method::Get, "/a", |decision, notes| {
            assert!(matches!(decision, Decision::Defer(_)));
            gateway.finish(notes, &mut response);
        });
        assert!(lines(&response).contains("X-Passed: one"));
    }
}
