//! What a program serves besides what its settings say: routes, state, middleware.
//!
//! Collected as steps, since a gateway must know its state and where handlers run before its first route.

use crate::gateway::handler::Handler;
use crate::gateway::middleware::Middleware;
use crate::gateway::route::Terms;
use crate::gateway::{Gateway, State};
use crate::http::MethodSet;
use crate::server::reload::Source;

/// See the module.
#[derive(Default)]
pub(super) struct App {
    /// What handlers share.
    pub state: State,
    /// What makes a gateway of its own out of an empty one, in order.
    pub steps: Vec<Step>,
    /// The patterns of its routes, each once, for the banner.
    pub patterns: Vec<String>,
    /// Where a reload gets its configuration, if there are any.
    pub source: Option<Source>,
}

/// Adds something to a gateway.
pub(super) type Step = Box<dyn FnOnce(Gateway) -> Gateway + Send>;

impl App {
    pub(super) fn serve(&mut self, methods: MethodSet, pattern: &str, handler: impl Handler) {
        let pattern = pattern.to_owned();
        if !self.patterns.contains(&pattern) {
            self.patterns.push(pattern.clone());
        }
        self.steps.push(Box::new(move |gateway| {
            gateway.with_route(methods, &pattern, Box::new(handler), Terms::default())
        }));
    }

    pub(super) fn pass_through(&mut self, middleware: impl Middleware) {
        self.steps.push(Box::new(move |gateway| gateway.with_middleware(middleware)));
    }
}
