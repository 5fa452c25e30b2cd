//! Endpoints to measure and to try with: fixed answers and an echo.

use crate::gateway::exchange::Exchange;
use crate::gateway::handler::{BodyPlan, Handler};
use crate::http::{Body, Fields, FixedAnswer, Method, MethodSet, Response, Status};

const PLAINTEXT: FixedAnswer = FixedAnswer { fields: "Content-Type: text/plain\r\n", body: b"Hello, World!" };
const JSON: FixedAnswer =
    FixedAnswer { fields: "Content-Type: application/json\r\n", body: br#"{"message":"Hello, World!"}"# };

/// `Hello, World!` as text: what benchmarks ask for.
pub struct Plaintext;

impl Handler for Plaintext {
    fn body(&self) -> BodyPlan {
        BodyPlan::Ignore
    }

    fn fixed(&self) -> Option<FixedAnswer> {
        Some(PLAINTEXT)
    }

    fn handle(&self, _: &mut Exchange<'_>) -> Response {
        PLAINTEXT.into()
    }
}

/// `{"message":"Hello, World!"}`: what the other benchmarks ask for.
pub struct Json;

impl Handler for Json {
    fn body(&self) -> BodyPlan {
        BodyPlan::Ignore
    }

    fn fixed(&self) -> Option<FixedAnswer> {
        Some(JSON)
    }

    fn handle(&self, _: &mut Exchange<'_>) -> Response {
        JSON.into()
    }
}

/// Sends the body back as it came.
pub struct Echo;

impl Handler for Echo {
    fn methods(&self) -> MethodSet {
        MethodSet::of(&[Method::Post, Method::Put, Method::Patch, Method::Options])
    }

    fn body(&self) -> BodyPlan {
        BodyPlan::Ignore
    }

    fn handle(&self, _: &mut Exchange<'_>) -> Response {
        // Never the client's own type: a page that posts HTML here must not get it back as HTML (CWE-79).
        let fields = "Content-Type: application/octet-stream\r\nX-Content-Type-Options: nosniff\r\n";
        Response { status: Status::OK, fields: Fields::fixed(fields), body: Body::Reflect }
    }
}
