//! Memory over held connections: the server's own beside the kernel's, each with its slope.
//!
//! Two frames, since the kernel's part is many times the server's: on one axis the server would be a line on
//! the floor.

use super::frame::{Frame, HEAD, ticks_across, ticks_up};
use super::pen::{Area, Pen};
use super::scale::Scale;
use super::{Picture, Plot};
use crate::report::slope::{Slope, slopes};
use crate::report::{Report, Step, Unit, units};

/// One kind of memory at each number of connections.
struct Kind {
    name: &'static str,
    class: &'static str,
    points: Vec<(f64, f64)>,
    slope: Slope,
}

/// Above each frame: what it shows, and the slope.
const TITLE: f64 = 36.0;
const GAP: f64 = 36.0;

pub fn plot(report: &Report) -> Option<Plot> {
    let slopes = slopes(report);
    let points = |bytes: fn(&Step) -> Option<u64>| {
        let seen = |step: &Step| Some((step.connections as f64, bytes(step)? as f64));
        report.steps.iter().filter_map(seen).collect::<Vec<_>>()
    };
    let kind = |name, class, slope: Option<Slope>, points| Some(Kind { name, class, points, slope: slope? });
    let kinds = [
        kind("Server", "c0", slopes.server, points(|step| step.server_bytes)),
        kind("Kernel, slabs", "c1", slopes.kernel, points(|step| Some(step.slab_bytes))),
    ];
    let kinds = kinds.into_iter().flatten().collect::<Vec<_>>();
    if kinds.is_empty() {
        return None;
    }
    let about = "User and kernel memory on axes of their own; the dashed line is the least-squares slope.";
    let draw = |width: f64| draw(&kinds, width);
    Some(Plot::draw("memory-connections", "Memory over connections", about.to_owned(), draw))
}

fn draw(kinds: &[Kind], width: f64) -> Picture {
    let is_narrow = width < 500.0;
    let columns = if is_narrow { 1 } else { kinds.len() };
    let each = (width - GAP * (columns - 1) as f64) / columns as f64;
    let height = if is_narrow { 270.0 } else { 340.0 };
    let mut pen = Pen::default();
    for (place, kind) in kinds.iter().enumerate() {
        let (column, row) = (place % columns, place / columns);
        let outer = Area {
            left: column as f64 * (each + GAP),
            top: row as f64 * (height + 10.0),
            width: each,
            height,
        };
        draw_kind(&mut pen, kind, outer);
    }
    let rows = kinds.len().div_ceil(columns) as f64;
    Picture { width, height: rows * (height + 10.0) - 10.0, body: pen.finish() }
}

fn draw_kind(pen: &mut Pen, kind: &Kind, outer: Area) {
    let class = kind.class;
    pen.named(class, (outer.left, outer.top + 14.0), kind.name, &told(&kind.slope));
    let below = Area { top: outer.top + TITLE - HEAD, height: outer.height - TITLE + HEAD, ..outer };
    let x = Scale::counted(kind.points.iter().map(|(count, _)| *count), ticks_across(outer.width, 5));
    let y = Scale::grown(kind.points.iter().map(|(_, bytes)| *bytes), Unit::Bytes, ticks_up(outer.height));
    let frame = Frame::within(below, x, y);
    frame.draw(pen, "connections", "");
    let fitted =
        |count: f64| frame.place(count, kind.slope.base_bytes + kind.slope.bytes_per_connection * count);
    let last = kind.points.iter().map(|(count, _)| *count).fold(0.0, f64::max);
    pen.path(&format!("line dashed thin {class}"), &[fitted(0.0), fitted(last)]);
    for &(count, bytes) in &kind.points {
        let title = format!("{} connections: {}", units::number(count), units::bytes(bytes));
        pen.dot(&format!("dot halo {class}"), frame.place(count, bytes), 5.0, &title);
    }
}

/// `61.4 B a connection (± 0.2 B)`.
fn told(slope: &Slope) -> String {
    let each = units::bytes(slope.bytes_per_connection);
    // An error that does not show in three digits need not be told.
    let error = slope.standard_error.filter(|error| *error >= slope.bytes_per_connection.abs() * 0.001);
    let error = error.map_or_else(String::new, |error| format!(" (± {})", units::bytes(error)));
    format!("{each} a connection{error}")
}
