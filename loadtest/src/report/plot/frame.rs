//! The frame of a plot: two scales, their ticks and titles, and where a pair of values lies between them.

use super::pen::{Anchor, Area, Pen, Place, width_of};
use super::scale::{Scale, Tick};

/// Where the data goes.
pub struct Frame {
    pub area: Area,
    /// Where the picture begins, left of the ticks: titles begin there too, so that long ones find room.
    left: f64,
    pub x: Scale,
    pub y: Scale,
}

/// Letters of ticks.
pub const SIZE: f64 = 12.0;
/// Below the area: ticks, and the title of the axis under them.
pub const FOOT: f64 = 40.0;
/// Above the area: the title of the upright axis.
pub const HEAD: f64 = 30.0;
const TICK_GAP: f64 = 8.0;

impl Frame {
    /// Within the outer area: room for ticks and titles is taken from it.
    pub fn within(outer: Area, x: Scale, y: Scale) -> Frame {
        let widest =
            |ticks: &[Tick]| ticks.iter().map(|tick| width_of(&tick.label, SIZE)).fold(0.0, f64::max);
        let left = widest(&y.ticks) + TICK_GAP;
        // Half of the last label hangs over the end of the axis.
        let over = x.ticks.last().map_or(0.0, |tick| {
            let hangs = width_of(&tick.label, SIZE) / 2.0;
            (hangs - (1.0 - x.at(tick.value)) * (outer.width - left)).max(0.0)
        });
        let area = Area {
            left: outer.left + left,
            top: outer.top + HEAD,
            width: outer.width - left - over.max(2.0) - 2.0,
            height: outer.height - HEAD - FOOT,
        };
        Frame { area, left: outer.left, x, y }
    }

    pub fn place(&self, x: f64, y: f64) -> Place {
        (self.across(x), self.up(y))
    }

    pub fn across(&self, x: f64) -> f64 {
        self.area.left + self.x.at(x) * self.area.width
    }

    pub fn up(&self, y: f64) -> f64 {
        self.area.bottom() - self.y.at(y) * self.area.height
    }

    /// Grid, ticks and titles; to be drawn below the data.
    pub fn draw(&self, pen: &mut Pen, x_title: &str, y_title: &str) {
        self.draw_upright(pen, y_title);
        for tick in self.without_overlap() {
            let x = self.across(tick.value);
            pen.line("axis", (x, self.area.bottom()), (x, self.area.bottom() + 4.0));
            pen.text("tick", (x, self.area.bottom() + 17.0), Anchor::Middle, &tick.label);
        }
        pen.text("muted", (self.area.right(), self.area.bottom() + 34.0), Anchor::End, x_title);
    }

    /// Without ticks below, for a frame that stands on another.
    pub fn draw_upright(&self, pen: &mut Pen, y_title: &str) {
        let Area { left, .. } = self.area;
        for tick in &self.y.ticks {
            let y = self.up(tick.value);
            pen.line("grid", (left, y), (self.area.right(), y));
            pen.text("tick", (left - TICK_GAP, y + 4.0), Anchor::End, &tick.label);
        }
        let floor = self.area.bottom();
        pen.line("axis", (left, floor), (self.area.right(), floor));
        if !y_title.is_empty() {
            pen.text("muted", (self.left, self.area.top - 16.0), Anchor::Start, y_title);
        }
    }

    /// Ticks of the lower axis whose labels find room: evenly fewer of them where all are of one rank, else
    /// the important first.
    fn without_overlap(&self) -> Vec<&Tick> {
        let ticks = &self.x.ticks;
        if ticks.iter().all(|tick| tick.rank == ticks[0].rank) {
            let every = |step: usize| ticks.iter().step_by(step).collect::<Vec<_>>();
            let fits = (1..=ticks.len()).map(every).find(|ticks| self.picked(ticks).len() == ticks.len());
            return fits.unwrap_or_default();
        }
        let mut by_rank = ticks.iter().collect::<Vec<_>>();
        by_rank.sort_by_key(|tick| tick.rank);
        self.picked(&by_rank)
    }

    /// Those that find room beside the ones before them.
    fn picked<'a>(&self, ticks: &[&'a Tick]) -> Vec<&'a Tick> {
        let mut taken: Vec<(f64, f64)> = Vec::new();
        let finds_room = |tick: &&&Tick| {
            let (middle, half) = (self.across(tick.value), width_of(&tick.label, SIZE) / 2.0 + 4.0);
            let is_free = taken.iter().all(|(low, high)| middle + half <= *low || middle - half >= *high);
            if is_free {
                taken.push((middle - half, middle + half));
            }
            is_free
        };
        ticks.iter().filter(finds_room).copied().collect()
    }
}

/// How many ticks of such labels an axis has room for.
pub fn ticks_across(width: f64, label_chars: usize) -> usize {
    ((width / (label_chars as f64 * SIZE * 0.62 + 14.0)) as usize).clamp(2, 10)
}

/// How many ticks an upright axis has room for.
pub fn ticks_up(height: f64) -> usize {
    ((height / 30.0) as usize).clamp(2, 8)
}
