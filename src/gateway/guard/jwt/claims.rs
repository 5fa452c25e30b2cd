//! What a token that was found good says of its bearer.
//!
//! Kept in the request's [`Notes`](crate::Notes), for limits by claim and for handlers; passed upstream in
//! fields where the configuration says so.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// See the module.
///
/// ```
/// use myriapod::Exchange;
/// use myriapod::gateway::guard::Claims;
///
/// fn greet(exchange: &mut Exchange) -> String {
///     let claims = exchange.notes().kept::<Claims>();
///     let name = claims.and_then(|claims| claims.text("name"));
///     format!("Hello, {}!\n", name.as_deref().unwrap_or("stranger"))
/// }
/// ```
#[derive(Debug, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    pub(super) fn new(claims: Map<String, Value>) -> Claims {
        Claims(claims)
    }

    /// A claim, whatever it is.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A claim that is text, a number or a truth value, as text. A list of such: with commas between them.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        let Value::Array(list) = self.0.get(name)? else { return plain(self.0.get(name)?) };
        let parts: Option<Vec<Cow<'_, str>>> = list.iter().map(plain).collect();
        // A part with a comma in it would be two.
        let parts = parts.filter(|parts| !parts.iter().any(|part| part.contains(',')))?;
        Some(Cow::Owned(parts.join(",")))
    }
}

fn plain(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(is_so) => Some(Cow::Borrowed(if *is_so { "true" } else { "false" })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_said_in_one_line_is_text() {
        let text = r#"{"s":"a b","n":-1.5,"i":18446744073709551615,"t":true,"z":null,"o":{},"e":"",
            "l":["a",1,false],"c":["a,b"],"d":[["a"]],"none":[]}"#;
        let claims = Claims::new(super::super::json::object(text.as_bytes()).unwrap());
        for (name, expected) in [
            ("s", Some("a b")),
            ("n", Some("-1.5")),
            ("i", Some("18446744073709551615")),
            ("t", Some("true")),
            ("e", Some("")),
            ("l", Some("a,1,false")),
            ("none", Some("")),
            ("z", None),
            ("o", None),
            ("c", None),
            ("d", None),
            ("absent", None),
        ] {
            assert_eq!(claims.text(name).as_deref(), expected, "{name}");
        }
    }
}
