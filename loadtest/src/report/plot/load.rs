//! A sweep: what came of what was asked for, and latency as the load grows.

use super::frame::{Frame, ticks_across, ticks_up};
use super::legend::{self, Entry};
use super::pen::{Area, Pen};
use super::scale::Scale;
use super::{Picture, Plot};
use crate::report::{Load, Report, Unit, units};

/// Loads with a schedule, by the rate that was asked for; none unless there are two different
/// ones that can be compared.
fn scheduled(report: &Report) -> Option<Vec<(f64, &Load)>> {
    let mut loads =
        report.loads.iter().filter_map(|load| Some((load.rate_wanted?, load))).collect::<Vec<_>>();
    loads.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let (first, last) = (loads.first()?.0, loads.last()?.0);
    // A hold has loads too, but beside different crowds: one line through them would say nothing.
    (first < last && report.steps.is_empty()).then_some(loads)
}

pub fn throughput(report: &Report) -> Option<Plot> {
    let loads = scheduled(report)?;
    let about = "Answers that came of requests that were due; on the dashed line all of them.";
    let draw = |width: f64| draw_throughput(&loads, width);
    Some(Plot::draw("throughput-load", "Throughput over load", about.to_owned(), draw))
}

fn draw_throughput(loads: &[(f64, &Load)], width: f64) -> Picture {
    let height = if width < 500.0 { 300.0 } else { 340.0 };
    let mut pen = Pen::default();
    let mut entries = vec![entry("achieved", "line c0"), entry("wanted", "line dashed c5")];
    let has_errors = loads.iter().any(|(_, load)| load.errors_total() > 0);
    if has_errors {
        entries.push(entry("errors", "line c3"));
    }
    let top = legend::draw(&mut pen, &entries, width);
    let errors = |load: &Load| load.errors_total() as f64 / load.seconds.max(0.001);
    let x = Scale::linear(loads.iter().map(|(wanted, _)| *wanted), Unit::PerSecond, ticks_across(width, 5));
    let most = loads.iter().map(|(wanted, load)| wanted.max(load.rate).max(errors(load)));
    let y = Scale::linear(most, Unit::PerSecond, ticks_up(height));
    let frame = Frame::within(Area { left: 0.0, top, width, height }, x, y);
    frame.draw(&mut pen, "wanted, requests per second", "answers per second");
    let last = loads.last().map_or(0.0, |(wanted, _)| *wanted);
    pen.path("line dashed thin c5", &[frame.place(0.0, 0.0), frame.place(last, last)]);
    if has_errors {
        let places = loads.iter().map(|(wanted, load)| frame.place(*wanted, errors(load)));
        pen.path("line c3", &places.collect::<Vec<_>>());
    }
    let places = loads.iter().map(|(wanted, load)| frame.place(*wanted, load.rate)).collect::<Vec<_>>();
    pen.path("line c0", &places);
    for (place, (wanted, load)) in places.iter().zip(loads) {
        let (rate, achieved) = (units::rate(load.rate), units::share(load.achieved()));
        let title = format!("{}: {rate} of {} wanted, {achieved}", load.name, units::rate(*wanted));
        pen.dot("dot halo c0", *place, 4.0, &title);
    }
    Picture { width, height: top + height, body: pen.finish() }
}

pub fn latency(report: &Report) -> Option<Plot> {
    let loads = scheduled(report)?;
    let answered = loads.into_iter().filter(|(_, load)| load.latency.count() > 0).collect::<Vec<_>>();
    if answered.len() < 2 {
        return None;
    }
    let about = "From the intended start of each request, so that waiting for a late server counts.";
    let points = answered.iter().map(|(wanted, load)| (*wanted, *load)).collect::<Vec<_>>();
    let draw = |width: f64| {
        let x = Scale::linear(points.iter().map(|(x, _)| *x), Unit::PerSecond, ticks_across(width, 5));
        draw_latency(&points, x, "wanted, requests per second", width)
    };
    Some(Plot::draw("latency-load", "Latency over load", about.to_owned(), draw))
}

const QUANTILES: &[(&str, f64, &str)] = &[("p50", 0.5, "c0"), ("p99", 0.99, "c2"), ("p99.9", 0.999, "c1")];

/// Percentiles of loads over whatever the first of each pair is.
pub fn draw_latency(points: &[(f64, &Load)], x: Scale, x_title: &str, width: f64) -> Picture {
    let height = if width < 500.0 { 300.0 } else { 340.0 };
    let mut pen = Pen::default();
    let entries = QUANTILES.iter().map(|(name, _, class)| entry(name, &format!("line {class}")));
    let top = legend::draw(&mut pen, &entries.collect::<Vec<_>>(), width);
    let at = |load: &Load, share: f64| load.latency.quantile(share) as f64;
    let values =
        points.iter().flat_map(|(_, load)| QUANTILES.iter().map(move |(_, share, _)| at(load, *share)));
    let y = Scale::log(values, Unit::Nanoseconds, ticks_up(height));
    let frame = Frame::within(Area { left: 0.0, top, width, height }, x, y);
    frame.draw(&mut pen, x_title, "latency");
    for (name, share, class) in QUANTILES {
        let places = points.iter().map(|(x, load)| frame.place(*x, at(load, *share))).collect::<Vec<_>>();
        pen.path(&format!("line {class}"), &places);
        for (place, (_, load)) in places.iter().zip(points) {
            let title = format!("{}: {name} {}", load.name, units::nanoseconds(at(load, *share)));
            pen.dot(&format!("dot halo {class}"), *place, 4.0, &title);
        }
    }
    Picture { width, height: top + height, body: pen.finish() }
}

fn entry(name: &str, class: &str) -> Entry {
    Entry { name: name.to_owned(), class: class.to_owned() }
}
