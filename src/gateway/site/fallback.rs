//! What a client gets when no server of an upstream can answer.

use std::fs;
use std::io::Read;

use crate::config::site;
use crate::http::{Response, Status};

/// See the module.
pub enum Fallback {
    /// An answer that is at hand.
    Answer {
        /// Its status.
        status: Status,
        /// What its body is.
        content_type: String,
        /// Its body.
        body: Vec<u8>,
    },
    /// Another upstream, by its number.
    Cluster(usize),
}

/// A page of apology has no business to be larger: it lies in memory.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

impl Fallback {
    /// Reads what is to be read.
    ///
    /// # Errors
    /// When a file cannot be read, or is over 1 MiB.
    pub fn new(spec: &site::Fallback) -> Result<Fallback, String> {
        match spec {
            site::Fallback::Respond(reply) => Ok(Fallback::Answer {
                status: reply.status,
                content_type: reply.content_type.clone(),
                body: reply.body.clone(),
            }),
            site::Fallback::File { path, status } => {
                let shown = path.display();
                let mut body = Vec::new();
                let file = fs::File::open(path).map_err(|error| format!("fallback {shown}: {error}"))?;
                let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut body);
                read.map_err(|error| format!("fallback {shown}: {error}"))?;
                if body.len() as u64 > FILE_BYTES_MAX {
                    return Err(format!("fallback {shown}: over 1 MiB; make it smaller"));
                }
                let content_type = mime_guess::from_path(path).first_or_octet_stream().to_string();
                Ok(Fallback::Answer { status: *status, content_type, body })
            }
            site::Fallback::Upstream(number) => Ok(Fallback::Cluster(*number)),
        }
    }

    /// The answer, if it is one.
    #[must_use]
    pub fn answer(&self) -> Option<Response> {
        match self {
            Fallback::Answer { status, content_type, body } => {
                Some(Response::bytes(*status, content_type, body.clone()))
            }
            Fallback::Cluster(_) => None,
        }
    }
}
