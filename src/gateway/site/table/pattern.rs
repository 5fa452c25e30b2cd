//! Patterns of paths, read: `/users/{id}`, `/img/{name}.png`, `/files/{*rest}`.
//!
//! A name stands for one segment, or for what is left of it beside what is written out, and never for
//! nothing. `{*name}` stands for all that is left of the path and comes last. `{{` and `}}` are braces.

use crate::gateway::route::Params;

/// What a pattern says of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// This.
    Text(Box<str>),
    /// Anything between these.
    Hole { before: Box<str>, after: Box<str> },
    /// Anything, to the end of the path.
    Rest,
}

/// The segments of a pattern.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(pattern: &str) -> Result<Vec<Segment>, String> {
    let path = pattern.strip_prefix('/').ok_or_else(|| format!("path {pattern:?} does not begin with /"))?;
    let (mut segments, mut names) = (Vec::new(), Vec::new());
    let mut rest = Some(path);
    while let Some(path) = rest {
        if segments.last() == Some(&Segment::Rest) {
            return Err(format!("path {pattern:?}: {{*{}}} is not at its end", names.join("")));
        }
        let (segment, behind) = match path.split_once('/') {
            Some((segment, behind)) => (segment, Some(behind)),
            None => (path, None),
        };
        let segment = read(segment, &mut names).map_err(|what| format!("path {pattern:?}: {what}"))?;
        check_plain(&segment, behind.is_none()).map_err(|what| format!("path {pattern:?}: {what}"))?;
        segments.push(segment);
        rest = behind;
    }
    check_names(&names).map_err(|what| format!("path {pattern:?}: {what}"))?;
    Ok(segments)
}

/// The segments of a prefix, in which braces are themselves. A slash at its end says nothing.
///
/// # Errors
/// What is wrong with it.
pub(super) fn prefix(prefix: &str) -> Result<Vec<Segment>, String> {
    let path = prefix.strip_prefix('/').ok_or_else(|| format!("prefix {prefix:?} does not begin with /"))?;
    let path = path.strip_suffix('/').unwrap_or(path);
    if prefix == "/" {
        return Ok(Vec::new());
    }
    let texts = path.split('/').map(|text| {
        let segment = Segment::Text(text.into());
        check_plain(&segment, false).map_err(|what| format!("prefix {prefix:?}: {what}"))?;
        Ok(segment)
    });
    texts.collect()
}

/// Paths are plain before they are looked up: a pattern that is not plain would match nothing, and nobody
/// would know why.
fn check_plain(segment: &Segment, is_last: bool) -> Result<(), String> {
    match segment {
        Segment::Text(text) if text.is_empty() && !is_last => Err("has an empty segment".to_owned()),
        Segment::Text(text) if matches!(&**text, "." | "..") => Err(format!("has a segment {text:?}")),
        _ => Ok(()),
    }
}

fn check_names(names: &[String]) -> Result<(), String> {
    if names.len() > Params::MAX {
        return Err(format!("has {} names, but at most {} are kept", names.len(), Params::MAX));
    }
    let twice = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name));
    twice.map_or(Ok(()), |(_, name)| Err(format!("has {{{name}}} twice")))
}

/// Reads one segment.
fn read(segment: &str, names: &mut Vec<String>) -> Result<Segment, String> {
    // What is written out before and behind the name.
    let (mut texts, mut is_named, mut is_rest) = ([String::new(), String::new()], false, false);
    let mut rest = segment;
    while let Some(first) = rest.chars().next() {
        let behind = &rest[first.len_utf8()..];
        let is_doubled = behind.starts_with(first);
        match first {
            '{' | '}' if is_doubled => {
                texts[usize::from(is_named)].push(first);
                rest = &behind[1..];
            }
            '}' => return Err("has a } without a {".to_owned()),
            '{' if is_named => return Err(format!("has two names in one segment, {segment:?}")),
            '{' => {
                let (name, behind) = behind.split_once('}').ok_or("has a { without a }")?;
                is_rest = name.starts_with('*');
                is_named = true;
                names.push(checked_name(name.strip_prefix('*').unwrap_or(name))?);
                rest = behind;
            }
            _ => {
                texts[usize::from(is_named)].push(first);
                rest = behind;
            }
        }
    }
    let [before, after] = texts.map(String::into_boxed_str);
    match (is_named, is_rest) {
        (false, _) => Ok(Segment::Text(before)),
        (true, false) => Ok(Segment::Hole { before, after }),
        (true, true) if before.is_empty() && after.is_empty() => Ok(Segment::Rest),
        (true, true) => Err(format!("has text beside {{*}} in {segment:?}")),
    }
}

fn checked_name(name: &str) -> Result<String, String> {
    let is_name = !name.is_empty() && !name.contains(['{', '*']);
    if is_name { Ok(name.to_owned()) } else { Err(format!("has {name:?} for a name")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Segment {
        Segment::Text(text.into())
    }

    fn hole(before: &str, after: &str) -> Segment {
        Segment::Hole { before: before.into(), after: after.into() }
    }

    #[test]
    fn patterns_are_read_by_segment() {
        let users = vec![text("users"), hole("", ""), text("posts"), hole("", "")];
        assert_eq!(parse("/users/{id}/posts/{post}"), Ok(users));
        assert_eq!(parse("/"), Ok(vec![text("")]));
        assert_eq!(parse("/a/"), Ok(vec![text("a"), text("")]));
        assert_eq!(parse("/img/v{n}.png"), Ok(vec![text("img"), hole("v", ".png")]));
        assert_eq!(parse("/files/{*rest}"), Ok(vec![text("files"), Segment::Rest]));
        assert_eq!(parse("/{{a}}/{b}}}"), Ok(vec![text("{a}"), hole("", "}")]));
    }

    #[test]
    fn mistakes_in_patterns_are_told() {
        let table = [
            ("a", "does not begin with /"),
            ("/{", "without a }"),
            ("/a}", "without a {"),
            ("/{}", "\"\" for a name"),
            ("/{*}", "\"\" for a name"),
            ("/{a}{b}", "two names in one segment"),
            ("/{*a}/b", "not at its end"),
            ("/x{*a}", "text beside {*}"),
            ("/{a}/{a}", "{a} twice"),
            ("/a//b", "empty segment"),
            ("/a/../b", "segment \"..\""),
            ("/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}", "9 names"),
        ];
        for (pattern, what) in table {
            let mistake = parse(pattern).unwrap_err();
            assert!(mistake.contains(what), "{pattern}: {mistake}");
        }
    }

    #[test]
    fn a_slash_at_the_end_of_a_prefix_says_nothing() {
        assert_eq!(prefix("/api/"), prefix("/api"));
        assert_eq!(prefix("/"), Ok(Vec::new()));
        assert_eq!(prefix("/{x}"), Ok(vec![text("{x}")]));
        assert!(prefix("api").is_err() && prefix("/a//b").is_err() && prefix("//").is_err());
    }
}
