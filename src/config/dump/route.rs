//! Routes, as [`file`](crate::config::file) reads them.

use super::page::{Page, array, quoted, table};
use super::upstream::reply;
use crate::config::file::{host_text, params, path_text};
use crate::config::site::{Action, HostRule, Part, PathRule, Proxy, Route, Site, Template};
use crate::config::units::size_text;
use crate::http::Method;

/// Where a key of a route came from. Routes stand in the order of the file; those of flags have no line.
pub(super) fn source(page: &Page<'_>, route: &Route, place: usize, key: &str) -> String {
    match route.line {
        0 => String::from("--to"),
        _ => page.loaded().key_source(&format!("route[{place}].{key}")),
    }
}

pub(super) fn write_all(page: &mut Page<'_>, site: &Site) {
    for (place, route) in site.routes.iter().enumerate() {
        page.section(&format!("route[{place}]"), "[[route]]");
        if route.line == 0 {
            page.made_by(String::from("--to"));
        }
        page.row("name", &quoted(&route.name));
        page.row("host", &array(route.hosts.iter().map(|host| quoted(&host_text(host)))));
        page.row("path", &quoted(&path_text(&route.path)));
        let methods = route.methods.map(|set| {
            let of_set = Method::ALL.into_iter().filter(|method| set.contains(*method));
            array(of_set.map(|method| quoted(method.as_str())))
        });
        page.optional("methods", methods);
        let value =
            |value: &Option<String>| value.as_ref().map_or_else(|| String::from("true"), |text| quoted(text));
        page.row("headers", &table(route.fields.iter().map(|field| (&field.name, value(&field.value)))));
        action(page, site, route);
        let name = |step: &usize| quoted(&site.steps[*step].name);
        page.row("use", &array(route.steps.iter().map(name)));
        page.optional("max-body", route.body_bytes_max.map(|bytes| quoted(&size_text(bytes))));
    }
}

fn action(page: &mut Page<'_>, site: &Site, route: &Route) {
    let params = params(&route.path);
    match &route.action {
        Action::Proxy(proxy) => self::proxy(page, site, proxy, &params),
        Action::Files { root, strip } => {
            page.row("files", &quoted(&root.display().to_string()));
            if !strip.is_empty() {
                page.row("strip-prefix", &quoted(strip));
            }
        }
        Action::Redirect { status, to } => {
            page.row("redirect", &quoted(&template(to, &params)));
            page.row("status", &status.code().to_string());
        }
        Action::Respond(answer) => page.row("respond", &reply(answer)),
    }
}

fn proxy(page: &mut Page<'_>, site: &Site, proxy: &Proxy, params: &[&str]) {
    page.made_row("proxy", &quoted(&site.upstreams[proxy.upstream].name));
    let host = match &proxy.host {
        HostRule::Keep => "keep",
        HostRule::Server => "server",
        HostRule::Set(text) => text,
    };
    page.row("host-header", &quoted(host));
    match &proxy.path {
        PathRule::Keep => {}
        PathRule::Strip(prefix) => page.row("strip-prefix", &quoted(prefix)),
        PathRule::Rewrite(to) => page.row("rewrite", &quoted(&template(to, params))),
    }
    page.row("upgrades", &proxy.upgrades.to_string());
}

/// Text with holes, as it is written; braces of its own stand twice.
pub(super) fn template(template: &Template, params: &[&str]) -> String {
    let part = |part: &Part| match part {
        Part::Text(text) => text.replace('{', "{{").replace('}', "}}"),
        Part::Host => String::from("{host}"),
        Part::Path => String::from("{path}"),
        Part::Query => String::from("{query}"),
        Part::Client => String::from("{client}"),
        Part::RequestId => String::from("{request_id}"),
        Part::Param(number) => format!("{{{}}}", params.get(usize::from(*number)).unwrap_or(&"")),
    };
    template.0.iter().map(part).collect()
}
