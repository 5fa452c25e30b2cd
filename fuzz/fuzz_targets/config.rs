//! Any text is a configuration or is refused at places that it has; and what is understood can be written
//! down so that it is understood as the same again.
#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use myriapod::config::file::{File, Source, read};
use myriapod::config::{Config, Loaded, Raw, Site};

fuzz_target!(|text: &str| {
    let File { site, mistakes, warnings, .. } = understood(text);
    let lines = text.split('\n').count() as u32;
    for told in mistakes.iter().chain(&warnings) {
        let excerpt = told.excerpt.as_ref().expect("a place in the file");
        assert!((1..=lines).contains(&excerpt.spot.line));
        assert_eq!(excerpt.text.lines().count(), 2);
    }
    if !mistakes.is_empty() {
        return;
    }
    let site = without_lines(site);
    let loaded = Loaded {
        config: Config { site: site.clone(), ..Config::default() },
        warnings: Vec::new(),
        raw: Raw::default(),
        file: None,
        lines: BTreeMap::new(),
    };
    let again = understood(&loaded.dump());
    assert!(again.mistakes.is_empty(), "{:?}", again.mistakes);
    assert_eq!(without_lines(again.site), site);
});

fn understood(text: &str) -> File {
    // Nothing is there, so that no file of this machine is read.
    read(&Source::new("site.toml", text), Path::new("/nonexistent"))
}

/// A route begins on another line in another file.
fn without_lines(mut site: Site) -> Site {
    site.routes.iter_mut().for_each(|route| route.line = 0);
    site
}
