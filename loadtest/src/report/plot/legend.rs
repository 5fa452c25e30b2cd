//! Names of series above a plot, in as many rows as they need.

use super::pen::{Anchor, Pen, width_of};

/// A name and the class of its colour.
pub struct Entry {
    pub name: String,
    /// Of the swatch: `line c0`, `line dashed c2`.
    pub class: String,
}

const SWATCH: f64 = 18.0;
const GAP: f64 = 16.0;
const ROW_HEIGHT: f64 = 18.0;
const SIZE: f64 = 12.0;
/// Longer names are cut even where there is room; a page has them in a table as well.
const NAME_CHARS_MAX: usize = 60;

/// Draws from the upper left and returns how high it is; one name alone needs no telling apart.
pub fn draw(pen: &mut Pen, entries: &[Entry], width: f64) -> f64 {
    if entries.len() < 2 {
        return 0.0;
    }
    let (mut x, mut y) = (0.0, ROW_HEIGHT / 2.0);
    for Entry { name, class } in entries {
        let room = (width - SWATCH - 6.0) / width_of("0", SIZE);
        let name = clipped(name, NAME_CHARS_MAX.min(room as usize));
        let wide = SWATCH + 6.0 + width_of(&name, SIZE) + GAP;
        if x > 0.0 && x + wide - GAP > width {
            (x, y) = (0.0, y + ROW_HEIGHT);
        }
        pen.line(class, (x, y), (x + SWATCH, y));
        pen.text("label", (x + SWATCH + 6.0, y + 4.0), Anchor::Start, &name);
        x += wide;
    }
    y + ROW_HEIGHT
}

fn clipped(name: &str, chars_max: usize) -> String {
    if name.chars().count() <= chars_max {
        return name.to_owned();
    }
    let kept = name.chars().take(chars_max.saturating_sub(1)).collect::<String>();
    format!("{}…", kept.trim_end())
}
