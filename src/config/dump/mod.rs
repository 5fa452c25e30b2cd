//! What is in force, as a file that reads back as the same, each value with where it came from.
//!
//! Secrets are among the values: without them it would not read back. Paths are whole, so that it may be read
//! from any folder. How values are written is how [`file`](super::file) reads them; the two change together.

mod middleware;
mod page;
mod route;
mod upstream;

use super::load::Loaded;
use super::raw::Place;
use page::{Page, array, quoted};

impl Loaded {
    /// See the module.
    #[must_use]
    pub fn dump(&self) -> String {
        let mut page = Page::new(self);
        settings(&mut page, self);
        trust(&mut page, self);
        upstream::write_all(&mut page, &self.config.site);
        middleware::write_all(&mut page, &self.config.site.steps);
        route::write_all(&mut page, &self.config.site);
        page.text
    }

    /// Where a setting came from, as a person would say it.
    pub(super) fn setting_source(&self, name: &str) -> String {
        match self.raw.place(name) {
            None => String::from("default"),
            Some(Place::Flag) => format!("--{name}"),
            Some(Place::Environment) => super::raw::environment_name(name),
            Some(Place::Argument) => String::from("DIR"),
            Some(Place::File(spot)) => self.line_text(spot.line),
        }
    }

    /// Where a key of the file stands; what is not there was not written.
    pub(crate) fn key_source(&self, key: &str) -> String {
        self.lines.get(key).map_or_else(|| String::from("default"), |line| self.line_text(*line))
    }

    fn line_text(&self, line: u32) -> String {
        format!("{}:{line}", self.file.as_deref().unwrap_or("?"))
    }
}

fn settings(page: &mut Page<'_>, loaded: &Loaded) {
    for setting in loaded.config.describe() {
        let source = loaded.setting_source(setting.name);
        match setting.value {
            None => page.line(&format!("# {} is not set", setting.name)),
            Some(value) => {
                let value = match setting.name {
                    "listen" => array(value.split(',').map(|address| quoted(&whole("listen", address)))),
                    name => bare_or_quoted(&whole(name, &value)),
                };
                page.sourced(setting.name, &value, &source);
            }
        }
    }
}

/// Numbers stand without quotes, as an operator would write them.
fn bare_or_quoted(value: &str) -> String {
    let is_number = !value.is_empty() && value.len() < 10 && value.bytes().all(|byte| byte.is_ascii_digit());
    // TOML takes no number that begins with a zero.
    match is_number && (value == "0" || !value.starts_with('0')) {
        true => String::from(value),
        false => quoted(value),
    }
}

/// A path as it is meant from everywhere.
fn whole(name: &str, value: &str) -> String {
    let absolute = |path: &str| match std::path::absolute(path) {
        Ok(path) => path.display().to_string(),
        Err(_) => String::from(path),
    };
    match name {
        "root" => absolute(value),
        "access-log" if !matches!(value, "off" | "stderr") => absolute(value),
        "listen" | "admin" => match value.strip_prefix("unix:") {
            Some(path) => format!("unix:{}", absolute(path)),
            None => String::from(value),
        },
        _ => String::from(value),
    }
}

fn trust(page: &mut Page<'_>, loaded: &Loaded) {
    let trust = &loaded.config.site.trust;
    page.section("trust", "[trust]");
    page.row("proxies", &array(trust.proxies.iter().map(|range| quoted(&range.to_string()))));
    page.row("proxy-protocol", &trust.proxy_protocol.to_string());
    page.optional(
        "connections-per-address",
        trust.connections_per_address_max.map(|count| count.to_string()),
    );
}

#[cfg(test)]
mod tests;
