//! Fields that the configuration changes: of requests on their way upstream, of answers on their way back.
//!
//! What stands in a template of an answer's field is known when the request comes and not when its answer
//! goes, so it is filled in then and kept. Most values have no holes, and are kept nowhere.
//! Framing and hop-by-hop fields are the protocol's: who names one is told when the file is read.

use crate::config::site::{FieldEdit, Part, Template};
use crate::gateway::middleware::{Flow, Middleware};
use crate::gateway::site::template;
use crate::gateway::{Exchange, Notes};
use crate::http::{Fields, Response};

/// See the module.
pub struct EditFields {
    /// Tells it apart from others that a request passes.
    id: u64,
    request: Vec<Edit>,
    response: Vec<Edit>,
    has_holes: bool,
}

struct Edit {
    name: String,
    act: Act,
}

enum Act {
    Set(Value),
    Add(Value),
    Remove,
}

enum Value {
    Plain(Vec<u8>),
    Holes(Template),
}

/// Values that were filled in, by step and in the order of its edits.
#[derive(Clone, Default)]
struct Filled(Vec<(u64, Vec<Vec<u8>>)>);

/// What only the protocol may write, in either direction.
const OWN: [&str; 11] = [
    "connection",
    "content-length",
    "date",
    "host",
    "keep-alive",
    "proxy-connection",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl EditFields {
    /// Takes these steps in their order.
    ///
    /// # Errors
    /// Which field cannot be changed.
    pub fn new(id: u64, request: &[FieldEdit], response: &[FieldEdit]) -> Result<EditFields, String> {
        let edits = |edits: &[FieldEdit]| edits.iter().map(Edit::new).collect::<Result<Vec<_>, _>>();
        let (request, response) = (edits(request)?, edits(response)?);
        let has_holes = response.iter().any(|edit| edit.template().is_some());
        Ok(EditFields { id, request, response, has_holes })
    }

    fn fill(&self, exchange: &mut Exchange<'_>) {
        let templates = self.response.iter().filter_map(Edit::template);
        let values = templates.map(|template| template::render_value(template, exchange)).collect();
        let mut filled = exchange.notes().kept::<Filled>().cloned().unwrap_or_default();
        filled.0.push((self.id, values));
        exchange.notes_mut().keep(filled);
    }
}

impl Middleware for EditFields {
    fn enter(&self, exchange: &mut Exchange<'_>) -> Flow {
        for Edit { name, act } in &self.request {
            let (value, is_added) = match act {
                Act::Set(value) => (value, false),
                Act::Add(value) => (value, true),
                Act::Remove => {
                    exchange.notes_mut().upstream_mut().remove(name);
                    continue;
                }
            };
            let rendered;
            let value = match value {
                Value::Plain(value) => value,
                Value::Holes(template) => {
                    rendered = template::render_value(template, exchange);
                    &rendered
                }
            };
            let edits = exchange.notes_mut().upstream_mut();
            if is_added { edits.add(name, value) } else { edits.set(name, value) }
        }
        if self.has_holes {
            self.fill(exchange);
        }
        Flow::On
    }

    fn leave(&self, notes: &Notes, response: &mut Response) {
        let kept = notes.kept::<Filled>().and_then(|filled| filled.0.iter().find(|(id, _)| *id == self.id));
        let mut filled = kept.map(|(_, values)| values.as_slice()).unwrap_or_default().iter();
        for Edit { name, act } in &self.response {
            let fields: &mut Fields = &mut response.fields;
            match act {
                Act::Remove => fields.remove(name),
                Act::Set(value) => {
                    value.text(&mut filled).into_iter().for_each(|text| fields.set(name, text))
                }
                Act::Add(value) => {
                    value.text(&mut filled).into_iter().for_each(|text| fields.push(name, text))
                }
            }
        }
    }
}

impl Edit {
    fn new(edit: &FieldEdit) -> Result<Edit, String> {
        let (name, act) = match edit {
            FieldEdit::Set(name, value) => (name, Act::Set(Value::new(name, value)?)),
            FieldEdit::Add(name, value) => (name, Act::Add(Value::new(name, value)?)),
            FieldEdit::Remove(name) => (name, Act::Remove),
        };
        Ok(Edit { name: checked(name)?.to_owned(), act })
    }

    fn template(&self) -> Option<&Template> {
        match &self.act {
            Act::Set(Value::Holes(template)) | Act::Add(Value::Holes(template)) => Some(template),
            _ => None,
        }
    }
}

impl Value {
    /// As written, or else the next that was filled in.
    fn text<'v>(&'v self, filled: &mut impl Iterator<Item = &'v Vec<u8>>) -> Option<&'v [u8]> {
        match self {
            Value::Plain(text) => Some(text),
            Value::Holes(_) => filled.next().map(Vec::as_slice),
        }
    }

    fn new(name: &str, template: &Template) -> Result<Value, String> {
        let mut plain = Vec::new();
        let mut has_holes = false;
        for part in &template.0 {
            match part {
                Part::Text(text) if text.chars().any(|letter| letter.is_control() && letter != '\t') => {
                    return Err(format!("field {name}: its value has control characters"));
                }
                Part::Text(text) => plain.extend_from_slice(text.as_bytes()),
                _ => has_holes = true,
            }
        }
        Ok(if has_holes { Value::Holes(template.clone()) } else { Value::Plain(plain) })
    }
}

/// A name that can be sent, and is nobody else's to write.
pub(super) fn checked(name: &str) -> Result<&str, String> {
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !is_name {
        return Err(format!("field {name:?}: a name has letters, digits and dashes"));
    }
    match OWN.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        true => Err(format!("field {name}: the protocol writes it")),
        false => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::guard::tests::{Asked, upstream};
    use crate::http::Status;

    fn text(text: &str) -> Template {
        Template(vec![Part::Text(text.to_owned())])
    }

    fn set(name: &str, value: &str) -> FieldEdit {
        FieldEdit::Set(name.to_owned(), text(value))
    }

    #[test]
    fn edits_are_made_in_their_order_and_each_way() {
        let add = FieldEdit::Add("X-Via".into(), text("us"));
        let request = [set("X-Env", "prod"), add.clone(), FieldEdit::Remove("X-Debug".into())];
        let response = [FieldEdit::Remove("X-Powered-By".into()), set("Cache-Control", "no-store"), add];
        let edits = EditFields::new(1, &request, &response).unwrap();
        let notes = Asked::from("192.0.2.1").pass(&edits).0;
        assert_eq!(upstream(&notes), "X-Env: prod\r\nX-Via: us\r\n");
        assert!(notes.upstream().takes(b"x-debug") && notes.upstream().takes(b"x-env"));
        assert!(!notes.upstream().takes(b"x-via"), "what the client says stays beside it");
        let mut answer =
            Response::fixed(Status::OK, "X-Powered-By: x\r\nX-Via: them\r\nCache-Control: public\r\n", b"");
        edits.leave(&notes, &mut answer);
        let lines = String::from_utf8(answer.fields.lines().concat()).unwrap();
        assert_eq!(lines, "X-Via: them\r\nCache-Control: no-store\r\nX-Via: us\r\n");
    }

    #[test]
    fn what_was_asked_is_filled_in_when_it_comes_and_said_when_its_answer_goes() {
        let client =
            |name: &str| FieldEdit::Set(name.into(), Template(vec![Part::Text("of ".into()), Part::Client]));
        let steps = [7, 8].map(|id| {
            let name = format!("X-Client-{id}");
            EditFields::new(id, &[], &[set("X-Plain", "p"), client(&name)]).unwrap()
        });
        let asked = Asked::from("192.0.2.1");
        let mut notes = Notes::default();
        asked.ask_with(&mut notes, |exchange| steps.iter().for_each(|step| drop(step.enter(exchange))));
        let mut answer = Response::empty(Status::OK);
        steps.iter().rev().for_each(|step| step.leave(&notes, &mut answer));
        for name in ["X-Client-7", "X-Client-8"] {
            assert_eq!(answer.fields.named(name).collect::<Vec<_>>(), [b"of 192.0.2.1"], "{name}");
        }
    }

    #[test]
    fn what_cannot_be_changed_is_said_when_the_file_is_read() {
        let mistake = |edit: FieldEdit| EditFields::new(1, &[edit], &[]).err().unwrap_or_default();
        for name in ["Transfer-Encoding", "content-length", "Host", "connection", "TE", "Upgrade"] {
            assert!(mistake(set(name, "x")).contains("the protocol writes it"), "{name}");
        }
        for name in ["", "X A", "X:A", "X\r\nA", "Jörg", "x_y"] {
            assert!(mistake(FieldEdit::Remove(name.into())).contains("a name has letters"), "{name:?}");
        }
        assert!(mistake(set("X-A", "a\r\nX-B: b")).contains("control characters"));
    }
}
