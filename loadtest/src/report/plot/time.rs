//! Latency, rate and errors over time: all loads after one another, as they ran.

use super::frame::{FOOT, Frame, HEAD, ticks_across, ticks_up};
use super::legend::{self, Entry};
use super::pen::{Anchor, Area, Pen, Place, width_of};
use super::scale::Scale;
use super::{Picture, Plot};
use crate::report::{Load, Moment, Report, Unit, units};

/// With fewer moments there is no course to see.
const MOMENTS_MIN: usize = 3;

/// Between the lowest tick of the upper frame and the title of the lower.
const GAP: f64 = 10.0;

/// A load on the axis of time.
struct Span<'a> {
    load: &'a Load,
    begins: f64,
    ends: f64,
    seconds: Vec<Second<'a>>,
}

/// A moment with where it lies on the axis.
struct Second<'a> {
    begins: f64,
    ends: f64,
    moment: &'a Moment,
}

/// A figure of a moment and how it is drawn.
type Figure = (&'static str, &'static str, fn(&Moment) -> u64);

const LATENCIES: &[Figure] = &[
    ("p50", "line c0", |moment| moment.p50_ns),
    ("p99", "line c2", |moment| moment.p99_ns),
    ("max", "line thin c1", |moment| moment.max_ns),
];

pub fn plot(report: &Report) -> Option<Plot> {
    let mut spans: Vec<Span<'_>> = Vec::new();
    for load in report.loads.iter().filter(|load| !load.timeline.is_empty()) {
        let begins = spans.last().map_or(0.0, |span| span.ends);
        spans.push(Span::of(load, begins));
    }
    if spans.iter().map(|span| span.seconds.len()).sum::<usize>() < MOMENTS_MIN {
        return None;
    }
    let about = match spans.len() {
        1 => "Second by second; rate and errors below.",
        _ => "Second by second, all loads after one another; rate and errors below.",
    };
    Some(Plot::draw("latency-time", "Latency over time", about.to_owned(), |width| draw(&spans, width)))
}

impl<'a> Span<'a> {
    fn of(load: &'a Load, begins: f64) -> Span<'a> {
        let mut ends = begins;
        let seconds = load.timeline.iter().map(|moment| {
            let second = Second { begins: ends, ends: begins + moment.at_seconds, moment };
            ends = second.ends;
            second
        });
        let seconds = seconds.collect();
        Span { load, begins, ends, seconds }
    }
}

impl Second<'_> {
    /// Drawn in the middle of what it tells of.
    fn middle(&self) -> f64 {
        (self.begins + self.ends) / 2.0
    }

    /// The last moment of a load may be shorter than a second.
    fn errors_per_second(&self) -> f64 {
        self.moment.errors as f64 / (self.ends - self.begins).max(0.001)
    }
}

fn draw(spans: &[Span<'_>], width: f64) -> Picture {
    let is_narrow = width < 500.0;
    let (upper, lower) = if is_narrow { (220.0, 130.0) } else { (270.0, 150.0) };
    let mut pen = Pen::default();
    let mut entries = LATENCIES
        .iter()
        .map(|(name, class, _)| Entry { name: (*name).to_owned(), class: (*class).to_owned() })
        .collect::<Vec<_>>();
    let has_errors = all(spans).any(|second| second.moment.errors > 0);
    // Alone in its frame, the rate is named by the frame's title.
    if has_errors {
        entries.push(Entry { name: "rate".to_owned(), class: "line c5".to_owned() });
        entries.push(Entry { name: "errors".to_owned(), class: "line c3".to_owned() });
    }
    let top = legend::draw(&mut pen, &entries, width);
    let seconds = spans.last().map_or(1.0, |span| span.ends);
    let x = Scale::exact(0.0, seconds, Unit::Seconds, ticks_across(width, 6));

    let values = all(spans).flat_map(|second| LATENCIES.iter().map(|(.., of)| of(second.moment) as f64));
    let latency = Scale::log(values, Unit::Nanoseconds, ticks_up(upper - HEAD));
    let most = all(spans).map(|second| second.moment.rate.max(second.errors_per_second()));
    let rate = Scale::linear(most, Unit::PerSecond, 3);

    // Both stand on one axis of time, so the wider labels of either make room for both.
    let lower_top = top + upper + GAP;
    let outer = |top: f64, height: f64| Area { left: 0.0, top, width, height };
    let mut below = Frame::within(outer(lower_top, lower), x.clone(), rate);
    let mut above = Frame::within(outer(top, upper + FOOT), x, latency);
    let left = above.area.left.max(below.area.left);
    for frame in [&mut above, &mut below] {
        let right = frame.area.right();
        frame.area = Area { left, width: right - left, ..frame.area };
    }
    above.draw_upright(&mut pen, "latency");
    below.draw(&mut pen, "measured time", "rate per second");
    borders(&mut pen, spans, &above, &below);
    lines(&mut pen, spans, &above, &below);
    hits(&mut pen, spans, &above, &below);
    Picture { width, height: lower_top + lower, body: pen.finish() }
}

fn all<'a>(spans: &'a [Span<'a>]) -> impl Iterator<Item = &'a Second<'a>> {
    spans.iter().flat_map(|span| &span.seconds)
}

/// Where one load ends and the next begins, with names where they find room.
fn borders(pen: &mut Pen, spans: &[Span<'_>], above: &Frame, below: &Frame) {
    if spans.len() < 2 {
        return;
    }
    for span in spans {
        let (begin, end) = (above.across(span.begins), above.across(span.ends));
        if span.begins > 0.0 {
            pen.line("grid", (begin, above.area.top), (begin, below.area.bottom()));
        }
        if width_of(&span.load.name, 12.0) < end - begin - 4.0 {
            pen.text("tick", ((begin + end) / 2.0, above.area.top - 16.0), Anchor::Middle, &span.load.name);
        }
    }
}

fn lines(pen: &mut Pen, spans: &[Span<'_>], above: &Frame, below: &Frame) {
    for span in spans {
        // Seconds without an answer have no latency; the line has a gap there.
        for answered in span.seconds.split(|second| second.moment.max_ns == 0) {
            for (_, class, of) in LATENCIES.iter().rev() {
                let place = |second: &Second<'_>| above.place(second.middle(), of(second.moment) as f64);
                pen.path(class, &answered.iter().map(place).collect::<Vec<_>>());
            }
        }
        let over = |value: &dyn Fn(&Second<'_>) -> f64| -> Vec<Place> {
            span.seconds.iter().map(|second| below.place(second.middle(), value(second))).collect()
        };
        let rate = over(&|second| second.moment.rate);
        pen.filled("fill c5", &rate, below.area.bottom());
        pen.path("line c5", &rate);
        if span.seconds.iter().any(|second| second.moment.errors > 0) {
            pen.path("line c3", &over(&|second| second.errors_per_second()));
        }
    }
}

/// A column for each moment that tells all of it when it is pointed at.
fn hits(pen: &mut Pen, spans: &[Span<'_>], above: &Frame, below: &Frame) {
    for (span, second) in spans.iter().flat_map(|span| span.seconds.iter().map(move |second| (span, second)))
    {
        let (left, right) = (above.across(second.begins), above.across(second.ends));
        let (top, width) = (above.area.top, (right - left).max(0.5));
        let area = Area { left, top, width, height: below.area.bottom() - top };
        pen.area("hit", area, &told(span.load, second.moment));
    }
}

fn told(load: &Load, moment: &Moment) -> String {
    let [p50, p99, max] =
        [moment.p50_ns, moment.p99_ns, moment.max_ns].map(|ns| units::nanoseconds(ns as f64));
    let errors = units::count(moment.errors);
    let (at, rate) = (units::seconds(moment.at_seconds), units::rate(moment.rate));
    format!("{} to {at}: {rate}, {errors} errors, p50 {p50}, p99 {p99}, max {max}", load.name)
}
