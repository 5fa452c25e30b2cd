//! The page at `/` of a server that was told nothing else.

use crate::config::Config;
use crate::gateway::handler::Handler;
use crate::http::{Body, Fields, Request, Response, Status};

/// Lists what is served and the flags in use; written once, at the start.
pub struct Welcome {
    page: Vec<u8>,
}

impl Welcome {
    /// The page for a server with these settings, as name and value.
    #[must_use]
    pub fn new(config: &Config) -> Welcome {
        let rows: String = config.changed().iter().map(|setting| format!("{setting}\n")).collect();
        Welcome { page: rows.into_bytes() }
    }
}

impl Handler for Welcome {
    fn handle(&self, _: &Request<'_>) -> Response {
        let fields =
            Fields::fixed("Content-Type: text/html; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n");
        Response { status: Status::OK, fields, body: Body::Owned(self.page.clone()) }
    }
}
