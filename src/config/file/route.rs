//! `[[route]]`: which requests it takes, and what becomes of them.

use toml::de::DeValue;

use super::pattern;
use super::reader::Reader;
use super::reply;
use super::section::{Section, Value, unknown};
use super::upstream::{self, server_address};
use super::value::{self, switch};
use crate::config::resolve::directory;
use crate::config::site::{
    Action, FieldMatch, HostPattern, HostRule, PathPattern, PathRule, Proxy, Route, Step, StepKind, Template,
    Upstream,
};
use crate::config::values::nearest;
use crate::http::{Method, MethodSet, Status};

/// What a route can do; one of these.
const ACTIONS: [&str; 4] = ["proxy", "files", "redirect", "respond"];
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

/// What routes name.
pub(super) struct Names<'n> {
    pub upstreams: &'n mut Vec<Upstream>,
    pub steps: &'n [Step],
}

/// One route; `None` when it is too mistaken to go on with.
pub(super) fn read(
    reader: &mut Reader<'_>,
    mut section: Section<'_>,
    names: &mut Names<'_>,
) -> Option<Route> {
    let given = section.get(reader, "name", |value| {
        let name = value::text(value)?;
        value::name(name).map(|()| String::from(name))
    });
    let hosts =
        section.list(reader, "host", |value| value::text(value).and_then(pattern::host)).unwrap_or_default();
    let path = section.get(reader, "path", |value| match value {
        DeValue::Array(_) => Err(String::from("this is a list; write a route for each path")),
        value => value::text(value).and_then(pattern::path),
    });
    let is_path_sound = path.is_some() || !section.has("path");
    let path = path.unwrap_or_else(|| PathPattern::Prefix(String::from("/")));
    let methods = methods(reader, &mut section);
    let fields = fields(reader, &mut section);
    let steps = steps(reader, &mut section, names.steps);
    let body_bytes_max = section.get(reader, "max-body", value::size);
    // A template may name parameters of a path that could not be read: one mistake and not two.
    let action = is_path_sound.then(|| action(reader, &mut section, names, &path));
    if !is_path_sound {
        OF_ACTIONS.iter().for_each(|(name, _)| section.could_have(name));
        ACTIONS.iter().for_each(|name| section.could_have(name));
    }
    let line = reader.line(section.span.clone());
    section.end(reader, elsewhere);
    let name = given.unwrap_or_else(|| usual_name(&hosts, &path, methods));
    action.flatten().map(|action| Route {
        name,
        hosts,
        path,
        methods,
        fields,
        action,
        steps,
        body_bytes_max,
        line,
    })
}

/// What to say of a key that means something elsewhere.
fn elsewhere(name: &str) -> Option<String> {
    // Where it is both, as `idle-timeout` is, the server's is not meant by who writes it here.
    let of_upstream = upstream::KEYS.contains(&name);
    let told = || String::from("this is a matter of servers: write it in their [upstream.NAME]");
    if of_upstream { Some(told()) } else { super::settings::elsewhere(name) }
}

/// `GET api.example.com/users/{id}`: it stays the same when routes are moved.
fn usual_name(hosts: &[HostPattern], path: &PathPattern, methods: Option<MethodSet>) -> String {
    let methods = methods.map_or_else(String::new, |set| format!("{set} ").replace(", ", ","));
    let host = hosts.first().map_or_else(String::new, host_text);
    format!("{methods}{host}{}", path_text(path))
}

/// A host as it is written.
pub(crate) fn host_text(host: &HostPattern) -> String {
    match host {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Below(name) => format!("*{name}"),
    }
}

/// A path as it is written.
pub(crate) fn path_text(path: &PathPattern) -> String {
    match path {
        PathPattern::Pattern(text) => text.clone(),
        PathPattern::Prefix(text) if text == "/" => String::from("/*"),
        PathPattern::Prefix(text) => format!("{text}/*"),
    }
}

fn methods(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<MethodSet> {
    let is_empty = section.several(reader, "methods")?.is_empty();
    let methods = section.list(reader, "methods", |value| method(value::text(value)?))?;
    if is_empty {
        reader.mistake(section.place("methods"), "no method is left; for every method leave this out");
    }
    Some(MethodSet::of(&methods))
}

fn method(text: &str) -> Result<Method, String> {
    match Method::from_bytes(text.as_bytes()) {
        Method::Connect | Method::Trace => Err(format!("{text} is never let in; take it out")),
        Method::Unknown => {
            let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
            let upper = text.to_ascii_uppercase();
            Err(match known.iter().find(|name| **name == upper) {
                Some(name) => format!("methods are written large: did you mean `{name}`?"),
                None => match slip(&upper, &known) {
                    Some(near) => format!("no such method; did you mean `{near}`?"),
                    None => format!("no such method; there are {}", known.join(", ")),
                },
            })
        }
        method => Ok(method),
    }
}

/// Words are compared in small letters.
fn slip(text: &str, known: &[&'static str]) -> Option<&'static str> {
    let small: Vec<String> = known.iter().map(|name| name.to_ascii_lowercase()).collect();
    let small: Vec<&str> = small.iter().map(String::as_str).collect();
    let near = nearest(text, &small)?;
    known.iter().find(|name| name.eq_ignore_ascii_case(near)).copied()
}

fn fields(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Vec<FieldMatch> {
    let Some(inner) = section.inner(reader, "headers") else { return Vec::new() };
    let mut fields: Vec<FieldMatch> = Vec::new();
    for entry in inner.entries(reader) {
        let name =
            value::field_name(entry.name).map_err(|problem| reader.mistake(entry.span.clone(), problem));
        let value = match entry.value.get_ref() {
            DeValue::Boolean(true) => Ok(None),
            DeValue::Boolean(false) => {
                Err(String::from("write true for any value, or the value it must have"))
            }
            other => value::text(other).and_then(value::field_value).map(|text| Some(String::from(text))),
        };
        let value = value.map_err(|problem| reader.mistake(entry.value.span(), problem));
        let (Ok(name), Ok(value)) = (name, value) else { continue };
        if fields.iter().any(|taken| taken.name == name) {
            reader.mistake(entry.span, format!("`{name}` stands twice; case does not matter in names"));
        }
        fields.push(FieldMatch { name, value });
    }
    fields
}

fn steps(reader: &mut Reader<'_>, section: &mut Section<'_>, steps: &[Step]) -> Vec<usize> {
    let known: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    let mut used: Vec<usize> = Vec::new();
    for value in section.several(reader, "use").unwrap_or_default() {
        let place = value::text(value.get_ref()).and_then(|name| {
            let place = known.iter().position(|known| *known == name);
            place.ok_or_else(|| unknown("middleware", name, &known, None))
        });
        match place {
            Err(problem) => reader.mistake(value.span(), problem),
            Ok(place) if used.contains(&place) => reader.mistake(value.span(), "this stands here twice"),
            Ok(place) => {
                if let Some(problem) = too_early(steps, place, &used) {
                    reader.mistake(value.span(), problem);
                }
                used.push(place);
            }
        }
    }
    used
}

/// A claim is known behind the step that has found it good.
fn too_early(steps: &[Step], place: usize, before: &[usize]) -> Option<String> {
    use crate::config::site::KeyOf::Claim;
    let by = match &steps[place].kind {
        StepKind::RateLimit(limit) => &limit.by,
        StepKind::Concurrency(limit) => &limit.by,
        _ => return None,
    };
    let is_known = before.iter().any(|place| matches!(steps[*place].kind, StepKind::Jwt(_)));
    match by {
        Claim(name) if !is_known => {
            Some(format!("counts by the claim `{name}`, and no jwt middleware stands before it"))
        }
        _ => None,
    }
}

/// Keys that mean something beside one action, or two.
const OF_ACTIONS: [(&str, &[&str]); 5] = [
    ("host-header", &["proxy"]),
    ("strip-prefix", &["proxy", "files"]),
    ("rewrite", &["proxy"]),
    ("upgrades", &["proxy"]),
    ("status", &["redirect"]),
];

fn action(
    reader: &mut Reader<'_>,
    section: &mut Section<'_>,
    names: &mut Names<'_>,
    path: &PathPattern,
) -> Option<Action> {
    let said: Vec<&str> = ACTIONS.into_iter().filter(|name| section.has(name)).collect();
    section.only_one_of(reader, &ACTIONS);
    for (name, of) in OF_ACTIONS {
        if section.has(name) && !said.is_empty() && !said.iter().any(|action| of.contains(action)) {
            reader.mistake(
                section.place(name),
                format!("this goes with {}, not with {}", of.join(" or "), said[0]),
            );
        }
    }
    let params = pattern::params(path);
    match said.first() {
        None => {
            let problem = "nothing becomes of its requests; give it proxy, files, redirect or respond";
            reader.mistake(section.span.clone(), problem);
            None
        }
        Some(&"proxy") => proxy(reader, section, names, path).map(Action::Proxy),
        Some(&"files") => files(reader, section, path),
        Some(&"redirect") => redirect(reader, section, &params),
        Some(_) => respond(reader, section),
    }
}

fn proxy(
    reader: &mut Reader<'_>,
    section: &mut Section<'_>,
    names: &mut Names<'_>,
    path: &PathPattern,
) -> Option<Proxy> {
    let target = section.take(reader, "proxy").and_then(|value| target(reader, value, names.upstreams));
    let host = section.get(reader, "host-header", |value| match value::text(value)? {
        "keep" => Ok(HostRule::Keep),
        "server" => Ok(HostRule::Server),
        "" => Err(String::from("no host; write keep, server or the host's name")),
        text if text.contains(char::is_whitespace) => Err(String::from("no host has spaces")),
        text => value::field_value(text).map(|text| HostRule::Set(String::from(text))),
    });
    let strip = section.get(reader, "strip-prefix", |value| strip(value::text(value)?, path));
    let params = pattern::params(path);
    let rewrite = section.get(reader, "rewrite", |value| match value::text(value)? {
        text if !text.starts_with(['/', '{']) => Err(format!("a path begins with a slash; write `/{text}`")),
        text => target_template(text, &params),
    });
    if section.has("strip-prefix") && section.has("rewrite") {
        reader.mistake(section.place("rewrite"), "the path is either stripped or rewritten; choose one");
    }
    let upgrades = section.get(reader, "upgrades", switch).unwrap_or(false);
    Some(Proxy {
        upstream: target?,
        host: host.unwrap_or(HostRule::Keep),
        path: match (strip, rewrite) {
            (Some(prefix), _) => PathRule::Strip(prefix),
            (None, Some(template)) => PathRule::Rewrite(template),
            (None, None) => PathRule::Keep,
        },
        upgrades,
    })
}

/// An upstream by its name, or a server by its address, which becomes an upstream of its own.
fn target(reader: &mut Reader<'_>, value: &Value<'_>, upstreams: &mut Vec<Upstream>) -> Option<usize> {
    let text = value::flag_text(value.get_ref()).unwrap_or_default();
    let named = |upstreams: &[Upstream], name: &str| upstreams.iter().position(|known| known.name == name);
    if let Some(place) = named(upstreams, &text) {
        return Some(place);
    }
    if value.get_ref().is_str() && !text.contains([':', '/']) && text.parse::<u16>().is_err() {
        let known: Vec<&str> = upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        reader.mistake(value.span(), unknown("upstream", &text, &known, None));
        return None;
    }
    let address = server_address(reader, value)?;
    let name = address.to_string();
    Some(named(upstreams, &name).unwrap_or_else(|| {
        upstreams.push(upstream::usual(&name, vec![upstream::server(address)]));
        upstreams.len() - 1
    }))
}

fn strip(text: &str, path: &PathPattern) -> Result<String, String> {
    pattern::plain(text)?;
    let text = text.strip_suffix('/').unwrap_or(text);
    let (PathPattern::Prefix(whole) | PathPattern::Pattern(whole)) = path;
    let fits = whole.strip_prefix(text).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    match fits {
        _ if text.is_empty() => Err(String::from("there is nothing to strip; take it out")),
        true => Ok(String::from(text)),
        false => Err(format!("no path of this route begins so: they are {}", path_text(path))),
    }
}

/// A template that becomes part of a target or a `Location`: visible ASCII.
fn target_template(text: &str, params: &[&str]) -> Result<Template, String> {
    match text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => pattern::template(text, params),
        false => Err(String::from("write spaces and letters beyond ASCII as %20 and the like")),
    }
}

fn files(reader: &mut Reader<'_>, section: &mut Section<'_>, path: &PathPattern) -> Option<Action> {
    let root = section.take(reader, "files").and_then(|value| {
        let root = value::text(value.get_ref()).and_then(|text| match text.is_empty() {
            true => Err(String::from("no folder given; write the folder to serve, such as ./public")),
            false => directory(reader.path(text).as_os_str()),
        });
        root.map_err(|problem| reader.mistake(value.span(), problem)).ok()
    });
    let strip = section.get(reader, "strip-prefix", |value| strip(value::text(value)?, path));
    Some(Action::Files { root: root?, strip: strip.unwrap_or_default() })
}

fn redirect(reader: &mut Reader<'_>, section: &mut Section<'_>, params: &[&str]) -> Option<Action> {
    let to = section.get(reader, "redirect", |value| match value::text(value)? {
        text if !text.starts_with(['/', '{']) && !text.contains("://") => {
            Err(format!("write a path, as `/{text}`, or a whole address, as `https://{text}`"))
        }
        text => target_template(text, params),
    });
    let status = section.get(reader, "status", |value| match value::status(300, 399)(value) {
        Ok(status) if REDIRECTS.contains(&status.code()) => Ok(status),
        _ => Err(format!("no redirect; write one of {}", REDIRECTS.map(|code| code.to_string()).join(", "))),
    });
    Some(Action::Redirect { status: status.unwrap_or(Status::PERMANENT_REDIRECT), to: to? })
}

fn respond(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<Action> {
    let value = section.take(reader, "respond")?;
    if let DeValue::String(body) = value.get_ref() {
        return Some(Action::Respond(reply::plain(Status::OK, body)));
    }
    let mut inner = Section::of(reader, format!("{}.respond", section.path), value)?;
    let reply = reply::fields(reader, &mut inner, Status::OK);
    inner.end(reader, |_| None);
    Some(Action::Respond(reply))
}
