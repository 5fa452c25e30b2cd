//! Whether a site can be made, tried before anybody serves it.
//!
//! What the file says of keys, tables and folders shows only when they are made, so `--check` makes them and
//! drops them again. No name is looked up and nothing listens.

use crate::config::Loaded;
use crate::gateway::site::{Kept, Made, Site};
use crate::gateway::upstream::Directory;

/// Makes the site once.
///
/// # Errors
/// Every mistake that shows only now, with its line where that is known.
pub fn site(loaded: &Loaded) -> Result<(), Vec<String>> {
    let (mut directory, mut kept) = (Directory::new(), Kept::default());
    let made = &mut Made { directory: &mut directory, kept: &mut kept, resolve: &|_| Vec::new(), seed: 0 };
    match Site::new(&loaded.config.site, made) {
        Ok(_) => Ok(()),
        Err(mistakes) => Err(mistakes.iter().map(|mistake| placed(loaded, mistake)).collect()),
    }
}

/// A mistake names what it is about first; the file has its line.
fn placed(loaded: &Loaded, mistake: &str) -> String {
    let site = &loaded.config.site;
    let is_about = |kind: &str, name: &str| {
        let rest = mistake.strip_prefix(kind).and_then(|rest| rest.strip_prefix(' '));
        rest.is_some_and(|rest| {
            rest.starts_with(&format!("{name}: ")) || rest.starts_with(&format!("{name:?}: "))
        })
    };
    let steps = site.steps.iter().map(|step| ("middleware", &step.name));
    let upstreams = site.upstreams.iter().map(|upstream| ("upstream", &upstream.name));
    let table = steps.chain(upstreams).find(|(kind, name)| is_about(kind, name));
    let key = match site.routes.iter().position(|route| is_about("route", &route.name)) {
        Some(place) => Some(format!("route[{place}]")),
        None => table.map(|(kind, name)| format!("{kind}.{name}")),
    };
    match key.map(|key| loaded.key_source(&key)) {
        Some(source) if source != "default" => format!("{source}: {mistake}"),
        _ => String::from(mistake),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Raw, Written, load};

    #[test]
    fn a_key_that_is_none_is_told_with_its_line() {
        let path = std::env::temp_dir().join(format!("myriapod-trial-{}.toml", std::process::id()));
        let text = |pem: &str| {
            format!(
                "[middleware.a]\ntrace = true\n[middleware.token]\n\
                 jwt.keys = {{ algorithm = \"RS256\", key = \"{pem}\" }}\n\
                 [[route]]\nrespond = \"a\"\nuse = \"token\"\n"
            )
        };
        std::fs::write(&path, text("-----BEGIN PUBLIC KEY-----\\nAAAA\\n-----END PUBLIC KEY-----"))
            .expect("a file");
        let loaded =
            load(&Raw { config: Some(Written::flag(&path)), ..Raw::default() }).expect("it looks sound");
        let _ = std::fs::remove_file(&path);
        let mistakes = site(&loaded).expect_err("no key");
        let start = format!("{}:3: middleware token: ", path.display());
        assert!(mistakes.len() == 1 && mistakes[0].starts_with(&start), "{mistakes:?}");
    }
}
