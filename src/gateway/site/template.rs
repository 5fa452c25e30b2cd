//! Text with holes, filled with what a request says.
//!
//! Promises: what is filled into an address has no byte that ends it or begins another part of it, no
//! segment that climbs, and does not turn a path into another site's address; what is filled into a field's
//! value ends no line (CWE-113). What stands for a name is encoded again, wherever it goes.

use std::io::Write as _;

use crate::config::site::{Part, Template};
use crate::gateway::Exchange;
use crate::http::path;

/// As a path or an address.
#[must_use]
pub fn render(template: &Template, exchange: &Exchange<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    for part in &template.0 {
        match part {
            Part::Query => push_query(&mut out, exchange),
            // What was written is taken to be an address, but for what cannot stand in one.
            part => push(&mut out, part, exchange, |byte| !matches!(byte, 0..=0x20 | 0x7f..=0xff)),
        }
    }
    let writes_site = matches!(template.0.first(), Some(Part::Text(text)) if text.starts_with("//"));
    if out.starts_with(b"//") && !writes_site {
        // `/{path}` would lead a browser to whatever host the path names.
        out.remove(0);
    }
    take_out_dots(&mut out);
    out
}

/// As the value of a field. Bytes that cannot stand in one become spaces.
#[must_use]
pub fn render_value(template: &Template, exchange: &Exchange<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    template.0.iter().for_each(|part| push(&mut out, part, exchange, |_| true));
    let controls = out.iter_mut().filter(|byte| byte.is_ascii_control() && **byte != b'\t');
    controls.for_each(|byte| *byte = b' ');
    out
}

fn push(out: &mut Vec<u8>, part: &Part, exchange: &Exchange<'_>, passes: fn(u8) -> bool) {
    let request = exchange.request();
    match part {
        Part::Text(text) => push_where(out, text.as_bytes(), passes),
        Part::Host => push_where(out, without_port(request.host()), passes),
        Part::Path => out.extend_from_slice(path::encoded(request.path()).as_bytes()),
        Part::Query if request.query().is_empty() => {}
        Part::Query => {
            out.push(b'?');
            out.extend_from_slice(request.query());
        }
        Part::Client => {
            if let Some(client) = exchange.arrival().client {
                // Writing into a Vec cannot fail.
                let _ = write!(out, "{client}");
            }
        }
        Part::RequestId => push_where(out, exchange.notes().request_id().as_bytes(), passes),
        Part::Param(place) => {
            let value = exchange.params().of(request.path(), usize::from(*place));
            out.extend_from_slice(path::encoded(value.unwrap_or_default()).as_bytes());
        }
    }
}

/// The query as sent: behind a `?` already written, one more part of it.
fn push_query(out: &mut Vec<u8>, exchange: &Exchange<'_>) {
    let query = exchange.request().query();
    if query.is_empty() {
        return;
    }
    out.push(if out.contains(&b'?') { b'&' } else { b'?' });
    push_where(out, query, |byte| !matches!(byte, 0..=0x20 | b'#' | 0x7f..=0xff));
}

fn push_where(out: &mut Vec<u8>, bytes: &[u8], passes: fn(u8) -> bool) {
    for byte in bytes {
        if passes(*byte) {
            out.push(*byte);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Empties segments of dots only. No route takes a path with such a segment, but `{a}` between other text
/// may come to one: left alone it would lead upstream out of where the template says.
fn take_out_dots(out: &mut Vec<u8>) {
    let end = out.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(out.len());
    let is_dots = |segment: &[u8]| matches!(segment, b"." | b"..");
    if !out[..end].split(|byte| *byte == b'/').any(is_dots) {
        return;
    }
    let segments = out[..end].split(|byte| *byte == b'/').map(|it| if is_dots(it) { &[] } else { it });
    let mut path = segments.collect::<Vec<_>>().join(&b'/');
    path.extend_from_slice(&out[end..]);
    *out = path;
}

/// The host of an authority.
fn without_port(authority: &[u8]) -> &[u8] {
    let end = match authority {
        [b'[', ..] => memchr::memchr(b']', authority).map(|end| end + 1),
        _ => memchr::memchr(b':', authority),
    };
    end.map_or(authority, |end| &authority[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::site::{Action, FixedReply, PathPattern, Route};
    use crate::gateway::site::table::{Found, Table};
    use crate::gateway::{Arrival, Notes};
    use crate::http::path::PlainPath;
    use crate::http::{HeadIndex, Method, Request, Span, Status};

    /// `host`, then the target as sent, as a client writes them; the route's pattern; the template as
    /// `/v2/{0}{query}`.
    fn render_as(
        render: fn(&Template, &Exchange<'_>) -> Vec<u8>,
        asked: (&str, &str),
        pattern: &str,
        template: &str,
    ) -> String {
        let (host, target) = asked;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let bytes = format!("{host}{path}?{query}");
        let plain_path = match path::plain(path.as_bytes()).unwrap() {
            PlainPath::AsSent => None,
            PlainPath::Decoded(path) => Some(path),
        };
        let index = HeadIndex {
            host: Span::new(0, host.len()),
            path: Span::new(host.len(), path.len()),
            query: Span::new(host.len() + path.len() + 1, query.len()),
            plain_path,
            ..HeadIndex::default()
        };
        let mut notes = Notes::default();
        notes.set_request_id("r\r\n1");
        let arrival = Arrival { client: "2001:db8::1".parse().ok(), ..Arrival::default() };
        let request = Request::new(&index, bytes.as_bytes());
        let mut exchange = Exchange::new(request, &mut notes).arrived(&arrival);
        let table = Table::new(&[route(pattern)]).unwrap();
        if let Found::Route { params, .. } = table.find(b"", request.path(), Method::Get, |_| None) {
            exchange.take_params(params);
        }
        String::from_utf8(render(&parts(template), &exchange)).unwrap()
    }

    fn route(pattern: &str) -> Route {
        let reply = FixedReply { status: Status::OK, content_type: String::new(), body: Vec::new() };
        Route {
            name: "r".to_owned(),
            hosts: Vec::new(),
            path: PathPattern::Pattern(pattern.to_owned()),
            methods: None,
            fields: Vec::new(),
            action: Action::Respond(reply),
            steps: Vec::new(),
            body_bytes_max: None,
            line: 0,
        }
    }

    fn parts(template: &str) -> Template {
        let mut parts = Vec::new();
        for piece in template.split('{') {
            let (name, text) = piece.split_once('}').unwrap_or(("", piece));
            parts.extend(match name {
                "" => None,
                "host" => Some(Part::Host),
                "path" => Some(Part::Path),
                "query" => Some(Part::Query),
                "client" => Some(Part::Client),
                "request_id" => Some(Part::RequestId),
                number => Some(Part::Param(number.parse().unwrap())),
            });
            parts.extend((!text.is_empty()).then(|| Part::Text(text.to_owned())));
        }
        Template(parts)
    }

    #[track_caller]
    fn assert_address(target: &str, pattern: &str, template: &str, address: &str) {
        assert_eq!(render_as(render, ("a.example:8080", target), pattern, template), address);
    }

    #[test]
    fn holes_are_filled() {
        assert_address("/u/7/p/x?a=1", "/u/{id}/p/{post}", "/v2/{1}/{0}{query}", "/v2/x/7?a=1");
        assert_address("/a/b?c", "/{*rest}", "https://{host}{path}{query}", "https://a.example/a/b?c");
        assert_address("/a", "/{x}", "/s?of={0}{query}", "/s?of=a");
        assert_address("/a?b=1", "/{x}", "/s?of={0}{query}", "/s?of=a&b=1");
        let six = render_as(render, ("[::1]:80", "/"), "/", "https://{host}/{client}/{9}");
        assert_eq!(six, "https://[::1]/2001:db8::1/");
    }

    #[test]
    fn what_stands_for_a_name_stays_one_piece_of_the_path() {
        assert_address("/u/a%20b%3Fc%23%25", "/u/{id}", "/v2/{0}", "/v2/a%20b%3Fc%23%25");
        assert_address("/u/%c3%a4", "/u/{id}", "/v2/{0}", "/v2/%C3%A4");
        assert_address("/a/%2e/../b%22", "/{x}", "{path}", "/b%22");
    }

    #[test]
    fn a_template_leads_neither_upwards_nor_elsewhere() {
        assert_address("/x..", "/x{a}", "/v2/{0}/y", "/v2//y");
        assert_address("/x.", "/x{a}", "/v2/.{0}", "/v2/");
        assert_address("/evil.example/x", "/{*rest}", "/{path}", "/evil.example/x");
        assert_address("/x", "/{a}", "//cdn.example{path}", "//cdn.example/x");
        assert_address("/x..y/...", "/{*rest}", "/{0}", "/x..y/...");
    }

    #[test]
    fn a_value_has_one_line() {
        let value = |template: &str| render_as(render_value, ("h", "/a%20b?c"), "/{x}", template);
        assert_eq!(value("id {request_id}, {0}\r\nX: y"), "id r  1, a%20b  X: y");
        assert_eq!(value("{client} {path}{query}"), "2001:db8::1 /a%20b?c");
        let address = render_as(render, ("h", "/a"), "/{x}", "/{request_id} ä\n");
        assert_eq!(address, "/r%0D%0A1%20%C3%A4%0A");
    }

    proptest! {
        #[test]
        fn no_path_makes_an_address_of_more_than_it_says(
            raw in "(/([a-z.]|%2e|%20|%0d|%3f|%23|%25|%c3%a4){1,6}){1,3}",
            template in prop::sample::select(vec!["/v2/{0}", "/v2/x{0}.{0}", "{path}", "/{path}", "/{0}"]),
        ) {
            if path::plain(raw.as_bytes()).is_ok() {
                let address = render_as(render, ("h", &raw), "/{*rest}", template);
                prop_assert!(address.bytes().all(|byte| byte.is_ascii_graphic()), "{address}");
                prop_assert!(!address.contains(['?', '#']) && !address.starts_with("//"), "{address}");
                prop_assert!(address.split('/').all(|segment| segment != "." && segment != ".."));
                prop_assert!(address.starts_with("/v2/") || !template.starts_with("/v2/"));
            }
        }
    }
}
