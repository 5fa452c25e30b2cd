//! Paths and hosts that a route takes, and text with holes, as they are written in the file.

use crate::config::site::{HostPattern, Part, PathPattern, Template};
use crate::config::values::nearest;

use super::address::host_name;

/// What a request can tell of the parameters of its path.
const PARAMS_MAX: usize = 8;
/// Holes that every request can fill, whatever its route.
const HOLES: [(&str, Part); 5] = [
    ("host", Part::Host),
    ("path", Part::Path),
    ("query", Part::Query),
    ("client", Part::Client),
    ("request_id", Part::RequestId),
];

/// `/users` alone, `/users/{id}`, `/files/{*rest}`, or `/api/*` for `/api` and all below.
pub(super) fn path(text: &str) -> Result<PathPattern, String> {
    plain(text)?;
    match text.strip_suffix("/*") {
        Some(prefix) if prefix.contains(['{', '}']) => {
            Err(format!("a pattern that goes on for ever ends with a name: write `{prefix}/{{*rest}}`"))
        }
        Some(prefix) if prefix.contains('*') => Err(stray_star(prefix)),
        Some("") => Ok(PathPattern::Prefix(String::from("/"))),
        Some(prefix) => Ok(PathPattern::Prefix(String::from(prefix))),
        None => {
            segments(text)?;
            Ok(PathPattern::Pattern(String::from(text)))
        }
    }
}

/// Paths are compared decoded, without doubled slashes and dot segments: others would never match.
pub(super) fn plain(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err(format!("a path begins with a slash; write `/{text}`"));
    }
    if let Some(odd) = text.chars().find(|letter| letter.is_control() || "?#\\".contains(*letter)) {
        return Err(match odd {
            '?' => String::from("a path is compared without its query; leave out `?` and what follows"),
            odd => format!("no path holds `{}`; take it out", odd.escape_default()),
        });
    }
    let is_escape = |at: usize| {
        let digits = text.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if text.match_indices('%').any(|(at, _)| is_escape(at)) {
        return Err(String::from("paths are compared decoded; write the letter that the escape stands for"));
    }
    match text.contains("//") || text.split('/').any(|segment| matches!(segment, "." | "..")) {
        true => Err(String::from("paths are compared without `//`, `.` and `..`; write it plain")),
        false => Ok(()),
    }
}

fn stray_star(text: &str) -> String {
    match text.rsplit_once('/') {
        Some((before, "*")) => format!("`/*` stands at the end; for one segment write `{before}/{{name}}`"),
        _ => String::from("`*` stands for whole segments at the end: write `/api/*`"),
    }
}

fn segments(text: &str) -> Result<(), String> {
    let mut names: Vec<&str> = Vec::new();
    let mut rest = text.split('/').skip(1).peekable();
    while let Some(segment) = rest.next() {
        let Some(name) = param(segment)? else { continue };
        if segment.contains("{*") && (rest.peek().is_some() || segment != format!("{{*{name}}}")) {
            return Err(format!("`{{*{name}}}` takes all that follows; it is the last segment"));
        }
        if HOLES.iter().any(|(hole, _)| *hole == name) {
            return Err(format!("`{{{name}}}` means something else in templates; choose another name"));
        }
        if names.contains(&name) {
            return Err(format!("`{{{name}}}` stands twice; give each its own name"));
        }
        names.push(name);
    }
    match names.len() > PARAMS_MAX {
        true => Err(format!("{} parameters; a path has at most {PARAMS_MAX}", names.len())),
        false => Ok(()),
    }
}

/// The name in `{name}`, `{*name}` or `{name}.png`.
fn param(segment: &str) -> Result<Option<&str>, String> {
    let Some((before, rest)) = segment.split_once('{') else {
        return match segment {
            _ if segment.contains('}') => Err(format!("`{segment}` has a `}}` without a `{{`")),
            _ if segment.contains('*') => Err(stray_star(&format!("/{segment}"))),
            _ => Ok(None),
        };
    };
    let Some((name, after)) = rest.split_once('}') else {
        return Err(format!("`{segment}` has a `{{` without a `}}`"));
    };
    if after.contains('{') {
        return Err(format!("`{segment}`: one parameter in a segment, write `/{{a}}/{{b}}`"));
    }
    if before.contains(['}', '*']) || after.contains(['}', '*']) {
        return Err(format!("`{segment}`: braces and stars stand for parameters only"));
    }
    let name = name.strip_prefix('*').unwrap_or(name);
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match is_name {
        true => Ok(Some(name)),
        false => Err(format!("`{segment}`: a parameter's name has letters, digits and `_`")),
    }
}

/// The names of a pattern's parameters, in their order.
pub(crate) fn params(pattern: &PathPattern) -> Vec<&str> {
    match pattern {
        PathPattern::Prefix(_) => Vec::new(),
        PathPattern::Pattern(text) => {
            text.split('/').filter_map(|segment| param(segment).ok().flatten()).collect()
        }
    }
}

/// `example.com`, or `*.example.com` for every host below.
pub(super) fn host(text: &str) -> Result<HostPattern, String> {
    if text == "*" {
        return Err(String::from("for every host leave `host` out"));
    }
    let (below, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text),
    };
    if name.contains('*') {
        return Err(String::from("`*` stands for all before a dot at the front: write `*.example.com`"));
    }
    if !below && name.parse::<std::net::Ipv4Addr>().is_ok() {
        return Ok(HostPattern::Exact(String::from(name)));
    }
    if let Some(v6) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        let v6: std::net::Ipv6Addr = v6.parse().map_err(|_| format!("`{name}` is no address"))?;
        return Ok(HostPattern::Exact(format!("[{v6}]")));
    }
    if let Some((host, _)) = name.split_once(':') {
        return Err(format!("hosts are compared without a port; write `{host}`"));
    }
    let name = host_name(name.strip_suffix('.').unwrap_or(name))?;
    Ok(match below {
        true => HostPattern::Below(format!(".{name}")),
        false => HostPattern::Exact(name),
    })
}

/// Text with holes; `{{` and `}}` are braces. `params` are those of the route's path.
pub(super) fn template(text: &str, params: &[&str]) -> Result<Template, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix(brace) {
            plain.push_str(brace);
            rest = after;
            continue;
        }
        let hole = after.split_once('}').filter(|_| brace == "{");
        let (name, after) =
            hole.ok_or_else(|| format!("a `{brace}` alone; for the letter write it twice"))?;
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(part(name, params)?);
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(Template(parts))
}

fn part(name: &str, params: &[&str]) -> Result<Part, String> {
    if let Some((_, part)) = HOLES.iter().find(|(hole, _)| *hole == name) {
        return Ok(part.clone());
    }
    if let Some(at) = params.iter().position(|param| *param == name) {
        return Ok(Part::Param(at as u8));
    }
    let known: Vec<&str> = HOLES.iter().map(|(hole, _)| *hole).chain(params.iter().copied()).collect();
    Err(match nearest(name, &known) {
        Some(near) => format!("nothing stands for `{{{name}}}`; did you mean `{{{near}}}`?"),
        None => format!("nothing stands for `{{{name}}}`; there are {}", known.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_exact_patterns_or_prefixes() {
        let prefix = |text: &str| Ok(PathPattern::Prefix(String::from(text)));
        let pattern = |text: &str| Ok(PathPattern::Pattern(String::from(text)));
        assert_eq!(path("/*"), prefix("/"));
        assert_eq!(path("/api/*"), prefix("/api"));
        for text in
            ["/", "/a/", "/users/{id}", "/users/{id}/", "/files/{*rest}", "/img/{name}.png", "/über", "/50%"]
        {
            assert_eq!(path(text), pattern(text), "{text}");
        }
        assert_eq!(params(&path("/a/{b}.png/{*c}").unwrap()), ["b", "c"]);
    }

    #[test]
    fn what_no_path_matches_is_put_right() {
        for (text, told) in [
            ("api", "write `/api`"),
            ("", "write `/`"),
            ("/a?b", "without its query"),
            ("/a#b", "no path holds `#`"),
            ("/a\\b", "no path holds `\\\\`"),
            ("/a%20b", "compared decoded"),
            ("/a//b", "without `//`"),
            ("/a/../b", "without `//`"),
            ("/api*", "write `/api/*`"),
            ("/*/x", "write `/{name}`"),
            ("/a/*/x", "for one segment"),
            ("/{id}/*", "write `/{id}/{*rest}`"),
            ("/{a}-{b}", "one parameter in a segment"),
            ("/{id", "`{` without"),
            ("/id}", "`}` without"),
            ("/{{id}}", "braces"),
            ("/x{*a}", "takes all that follows"),
            ("/{}", "letters, digits"),
            ("/{a-b}", "letters, digits"),
            ("/{*a}/b", "takes all that follows"),
            ("/{a}/{a}", "stands twice"),
            ("/{host}", "means something else"),
            ("/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}", "at most 8"),
        ] {
            let problem = path(text).expect_err(text);
            assert!(problem.contains(told), "{text}: {problem}");
        }
    }

    #[test]
    fn hosts_are_names_or_all_below_a_name() {
        assert_eq!(host("Example.COM"), Ok(HostPattern::Exact("example.com".into())));
        assert_eq!(host("*.example.com"), Ok(HostPattern::Below(".example.com".into())));
        assert_eq!(host("127.0.0.1"), Ok(HostPattern::Exact("127.0.0.1".into())));
        assert_eq!(host("[::1]"), Ok(HostPattern::Exact("[::1]".into())));
        for (text, told) in [
            ("*", "leave `host` out"),
            ("a.*.b", "at the front"),
            ("a:80", "write `a`"),
            ("", "no name of a host"),
            ("a/b", "no name of a host"),
        ] {
            let problem = host(text).expect_err(text);
            assert!(problem.contains(told), "{text}: {problem}");
        }
    }

    #[test]
    fn holes_are_those_of_every_request_and_of_the_path() {
        let text = |text: &str| Part::Text(String::from(text));
        let read = |text| template(text, &["id"]);
        assert_eq!(read("/v2/{id}"), Ok(Template(vec![text("/v2/"), Part::Param(0)])));
        let all = read("https://{host}{path}{query}");
        assert_eq!(all, Ok(Template(vec![text("https://"), Part::Host, Part::Path, Part::Query])));
        assert_eq!(read("{{id}}"), Ok(Template(vec![text("{id}")])));
        for (wrong, told) in [
            ("{idd}", "did you mean `{id}`?"),
            ("{x_y_z}", "there are host, path, query, client, request_id, id"),
            ("{id", "a `{` alone"),
            ("id}", "a `}` alone"),
        ] {
            let problem = read(wrong).expect_err(wrong);
            assert!(problem.contains(told), "{wrong}: {problem}");
        }
    }
}
