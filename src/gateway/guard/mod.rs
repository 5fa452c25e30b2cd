//! What protects the servers behind: limits by key and by address, and who may come in at all.
//!
//! All of it is [`Middleware`](super::middleware::Middleware), but for the tables below it. A table is made
//! once, has a fixed size and consists of atomics only: reactors share it without a lock, and no flood of
//! keys can make it grow. Keys are hashed with a secret ([`Secret`]), so that nobody can aim at a place in a
//! table. What each does where it has no room is said in its own file.
//! No clock is read here: a request brings the time of its [`arrival`](super::Exchange::arrival).

mod access;
mod basic;
mod concurrency;
mod connections;
pub mod counts;
pub mod jwt;
pub mod key;
pub mod passwords;
pub mod rate;
mod rate_limit;

pub use access::{Access, Ranges};
pub use basic::{Basic, UserName};
pub use concurrency::Concurrency;
pub use connections::{Admission, ConnectionCounts};
pub use jwt::{Claims, Jwt};
pub use key::Secret;
pub use rate_limit::RateLimit;

#[cfg(test)]
pub(crate) mod tests {
    use crate::gateway::middleware::{Flow, Middleware};
    use crate::gateway::{Arrival, Exchange, Notes};
    use crate::http::{HeadIndex, Method, Request, Response, Span, Status};

    /// A request for `/` that was never written by a client, and when and from where it came.
    pub(crate) struct Asked {
        fields: Vec<(String, Vec<u8>)>,
        pub(crate) arrival: Arrival,
    }

    impl Asked {
        pub(crate) fn from(client: &str) -> Asked {
            let client = client.parse().ok();
            let arrival = Arrival { client, peer: client, now_ns: 1, unix_seconds: 1, is_trusted: false };
            Asked { fields: Vec::new(), arrival }
        }

        pub(crate) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Asked {
            self.fields.push((name.to_owned(), value.as_ref().to_owned()));
            self
        }

        pub(crate) fn at_ns(mut self, now_ns: u64) -> Asked {
            self.arrival.now_ns = now_ns;
            self
        }

        pub(crate) fn at_unix(mut self, seconds: u64) -> Asked {
            self.arrival.unix_seconds = seconds;
            self
        }

        pub(crate) fn ask<T>(&self, look: impl FnOnce(&mut Exchange<'_>) -> T) -> T {
            self.ask_with(&mut Notes::default(), look)
        }

        pub(crate) fn ask_with<T>(&self, notes: &mut Notes, look: impl FnOnce(&mut Exchange<'_>) -> T) -> T {
            let mut bytes = b"/".to_vec();
            let mut index = HeadIndex { method: Method::Get, path: Span::new(0, 1), ..HeadIndex::default() };
            let mut put = |text: &[u8]| {
                bytes.extend_from_slice(text);
                Span::new(bytes.len() - text.len(), text.len())
            };
            for (field, (name, value)) in index.fields.iter_mut().zip(&self.fields) {
                (field.name, field.value) = (put(name.as_bytes()), put(value));
            }
            index.field_count = self.fields.len() as u8;
            look(&mut Exchange::new(Request::new(&index, &bytes), notes).arrived(&self.arrival))
        }

        /// In and out by one middleware, with a 200 in between unless it answers.
        pub(crate) fn pass(&self, middleware: &dyn Middleware) -> (Notes, Response) {
            let mut notes = Notes::default();
            let flow = self.ask_with(&mut notes, |exchange| middleware.enter(exchange));
            let mut response = match flow {
                Flow::On => Response::empty(Status::OK),
                Flow::Answer(response) => response,
            };
            middleware.leave(&notes, &mut response);
            (notes, response)
        }
    }

    pub(crate) fn value<'f>(response: &'f Response, name: &'f str) -> Option<&'f str> {
        response.fields.named(name).next().map(|value| str::from_utf8(value).unwrap())
    }

    /// What goes upstream besides and instead of what the client said.
    pub(crate) fn upstream(notes: &Notes) -> &str {
        str::from_utf8(notes.upstream().lines()).unwrap()
    }
}
