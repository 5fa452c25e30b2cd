//! Changes to a request's fields on its way upstream.
//!
//! Middleware writes them, whoever writes the request's head anew reads them. Whatever is set here, the
//! client cannot say: its own field of that name is taken out.

/// See the module. Reused by one request after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Lines to be added, each with its line end.
    lines: Vec<u8>,
    /// Names of fields that are taken out, each with a line end.
    taken: Vec<u8>,
}

impl Edits {
    /// Replaces every field of that name, or adds it. Bytes that cannot stand in a value become spaces
    /// (CWE-113).
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.remove(name);
        self.add(name, value);
    }

    /// Adds a field.
    pub fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        debug_assert!(is_name(name), "{name:?} is no field name");
        self.lines.extend_from_slice(name.as_bytes());
        self.lines.extend_from_slice(b": ");
        let visible = |byte: &u8| if byte.is_ascii_control() && *byte != b'\t' { b' ' } else { *byte };
        self.lines.extend(value.as_ref().iter().map(visible));
        self.lines.extend_from_slice(b"\r\n");
    }

    /// Takes every field of that name out, also those that were added here.
    pub fn remove(&mut self, name: &str) {
        debug_assert!(is_name(name), "{name:?} is no field name");
        if !self.takes(name.as_bytes()) {
            self.taken.extend_from_slice(name.as_bytes());
            self.taken.push(b'\n');
        }
        let is_other = |line: &&[u8]| !is_named(line, name.as_bytes());
        if !lines(&self.lines).all(|line| is_other(&line)) {
            self.lines = lines(&self.lines).filter(is_other).flatten().copied().collect();
        }
    }

    /// Whether the client's field of that name is taken out.
    #[must_use]
    pub fn takes(&self, name: &[u8]) -> bool {
        lines(&self.taken).any(|taken| taken[..taken.len() - 1].eq_ignore_ascii_case(name))
    }

    /// Lines to be added, each with its line end.
    #[must_use]
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Whether there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.taken.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.lines.clear();
        self.taken.clear();
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

fn is_named(line: &[u8], name: &[u8]) -> bool {
    line.get(name.len()) == Some(&b':') && line[..name.len()].eq_ignore_ascii_case(name)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_said_once_and_the_clients_own_is_taken_out() {
        let mut edits = Edits::default();
        edits.add("X-User", "mallory");
        edits.set("x-user", "alice");
        edits.add("X-Group", "a");
        edits.add("X-Group", "b");
        assert_eq!(edits.lines(), b"x-user: alice\r\nX-Group: a\r\nX-Group: b\r\n");
        assert!(edits.takes(b"X-USER") && !edits.takes(b"X-Group") && !edits.takes(b"X-Use"));
    }

    #[test]
    fn a_value_cannot_start_a_second_field() {
        let mut edits = Edits::default();
        edits.add("X-Name", "a\r\nCookie: b\0c");
        assert_eq!(edits.lines(), b"X-Name: a  Cookie: b c\r\n");
    }
}
