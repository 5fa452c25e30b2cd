//! Writes SVG elements, one a line.
//!
//! Promises: whatever text it is given becomes well-formed XML, and every number is finite and short. Looks
//! are classes; colours are in `theme.rs`.

use std::fmt::Write as _;

/// Elements so far.
#[derive(Default)]
pub struct Pen {
    out: String,
}

/// A rectangle of the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Area {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

/// Which end of a text its place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// A place in the picture, from its upper left.
pub type Place = (f64, f64);

impl Area {
    pub fn right(&self) -> f64 {
        self.left + self.width
    }

    pub fn bottom(&self) -> f64 {
        self.top + self.height
    }
}

impl Pen {
    pub fn line(&mut self, class: &str, (x1, y1): Place, (x2, y2): Place) {
        let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(short);
        self.put(format_args!("<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>"));
    }

    /// A line through all places.
    pub fn path(&mut self, class: &str, places: &[Place]) {
        if places.is_empty() {
            return;
        }
        let points = points(places);
        self.put(format_args!("<polyline class=\"{class}\" points=\"{points}\"/>"));
    }

    /// What lies between a line and the floor.
    pub fn filled(&mut self, class: &str, places: &[Place], floor: f64) {
        if let (Some(&(first, _)), Some(&(last, _))) = (places.first(), places.last()) {
            let around = [&[(first, floor)], places, &[(last, floor)]].concat();
            let points = points(&around);
            self.put(format_args!("<polygon class=\"{class}\" points=\"{points}\"/>"));
        }
    }

    /// A point, which tells its title when it is pointed at.
    pub fn dot(&mut self, class: &str, (x, y): Place, radius: f64, title: &str) {
        let ([x, y, radius], title) = ([x, y, radius].map(short), titled(title));
        self.put(format_args!(
            "<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"{radius}\">{title}</circle>"
        ));
    }

    pub fn area(&mut self, class: &str, area: Area, title: &str) {
        let title = titled(title);
        let [x, y, width, height] = [area.left, area.top, area.width, area.height].map(short);
        self.put(format_args!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\">{title}</rect>"
        ));
    }

    pub fn text(&mut self, class: &str, (x, y): Place, anchor: Anchor, text: &str) {
        let ([x, y], text) = ([x, y].map(short), escape(text));
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.put(format_args!(
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    /// A text that begins with a name in the colour of its series.
    pub fn named(&mut self, class: &str, (x, y): Place, name: &str, text: &str) {
        let ([x, y], name, text) = ([x, y].map(short), escape(name), escape(text));
        self.put(format_args!(
            "<text class=\"strong\" x=\"{x}\" y=\"{y}\" text-anchor=\"start\">\
             <tspan class=\"name {class}\">{name}</tspan>: {text}</text>"
        ));
    }

    pub fn finish(self) -> String {
        self.out
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.out, "{element}");
    }
}

fn points(places: &[Place]) -> String {
    places.iter().map(|&(x, y)| format!("{},{}", short(x), short(y))).collect::<Vec<_>>().join(" ")
}

fn titled(title: &str) -> String {
    if title.is_empty() { String::new() } else { format!("<title>{}</title>", escape(title)) }
}

/// Farther out than any picture is wide.
const FAR: f64 = 100_000.0;

/// A tenth of a pixel is finer than any eye; what is no number would hide the whole picture.
fn short(value: f64) -> f64 {
    if value.is_finite() { (value.clamp(-FAR, FAR) * 10.0).round() / 10.0 } else { 0.0 }
}

/// Text that may stand between tags and in quotes; what XML cannot hold becomes a mark.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Of its height: what a digit takes in the widest of the fonts a reader may have.
const WIDTH_OF_LETTER: f64 = 0.62;

/// About how wide a text is, rather more than less.
pub fn width_of(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * WIDTH_OF_LETTER
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_and_any_number_is_well_formed(text: String, x: f64, y: f64) {
            let mut pen = Pen::default();
            pen.text("tick", (x, y), Anchor::Middle, &text);
            pen.dot("dot", (x, y), 3.0, &text);
            pen.named("c0", (x, y), &text, &text);
            pen.path("line", &[(x, y), (y, x)]);
            let xml = format!("<svg>{}</svg>", pen.finish());
            prop_assert!(roxmltree::Document::parse(&xml).is_ok(), "{}", xml);
            prop_assert!(!xml.contains("NaN") && !xml.contains("\"inf"), "{}", xml);
        }
    }

    #[test]
    fn what_came_from_outside_stays_text() {
        assert_eq!(escape("<b a='1'>&\u{1b}[0m\n"), "&lt;b a=&#39;1&#39;&gt;&amp;\u{fffd}[0m ");
    }
}
