//! Latency over percentile, a line a load: the axis gives each further nine as much room as the last.

use super::frame::{Frame, ticks_up};
use super::legend::{self, Entry};
use super::pen::{Area, Pen};
use super::scale::{Scale, Tick};
use super::theme::class_of;
use super::{Picture, Plot};
use crate::engine::latency::Latency;
use crate::report::tables::POINTS;
use crate::report::{Load, Report, Unit, units};

/// Points of a line between one nine and the next.
const POINTS_PER_NINE: u32 = 24;
/// Beyond six nines no run here has answers enough.
const NINES_MAX: u32 = 6;
/// The very shortest would stretch the axis by a power of ten for one answer.
const LOWEST_SHARE: f64 = 0.01;
/// How far right of the last nine the maximum stands.
const MAX_BEYOND: f64 = 0.5;

pub fn plot(report: &Report) -> Option<Plot> {
    let loads = report.loads.iter().filter(|load| load.latency.count() > 0).collect::<Vec<_>>();
    let most = loads.iter().map(|load| load.latency.count()).max()?;
    let nines = (most as f64).log10().floor().clamp(2.0, f64::from(NINES_MAX)) as u32;
    let about = "How many answers took at most so long; each further nine has as much room as the last.";
    let draw = |width: f64| draw(&loads, nines, width);
    Some(Plot::draw("latency-percentiles", "Latency over percentile", about.to_owned(), draw))
}

fn draw(loads: &[&Load], nines: u32, width: f64) -> Picture {
    let height = if width < 500.0 { 330.0 } else { 400.0 };
    let mut pen = Pen::default();
    let entry = |(place, load): (usize, &&Load)| Entry {
        name: load.name.clone(),
        class: format!("line {}", class_of(place, loads.len())),
    };
    let top = legend::draw(&mut pen, &loads.iter().enumerate().map(entry).collect::<Vec<_>>(), width);
    let outer = Area { left: 0.0, top, width, height };
    let values = loads
        .iter()
        .flat_map(|load| [load.latency.quantile(LOWEST_SHARE), load.latency.max()])
        .map(|ns| ns as f64);
    let y = Scale::log(values, Unit::Nanoseconds, ticks_up(height));
    let frame = Frame::within(outer, axis(nines), y);
    frame.draw(&mut pen, "percentile of answers", "latency");
    for (place, load) in loads.iter().enumerate() {
        let class = class_of(place, loads.len());
        let end = f64::from(nines) + MAX_BEYOND;
        let places = line(&load.latency, nines, end).into_iter().map(|(x, ns)| frame.place(x, ns));
        pen.path(&format!("line {class}"), &places.collect::<Vec<_>>());
        for (name, share) in POINTS {
            let x = across(*share).min(end);
            // A load with few answers has no such percentile of its own.
            if *share < 1.0 && x > (load.latency.count() as f64).log10() + 1e-9 {
                continue;
            }
            let ns = load.latency.quantile(*share) as f64;
            let title = format!("{}: {name} {}", load.name, units::nanoseconds(ns));
            pen.dot(&format!("dot halo {class}"), frame.place(x, ns), 3.5, &title);
        }
    }
    Picture { width, height: top + height, body: pen.finish() }
}

/// Nines of a share: 0.999 has three.
fn across(share: f64) -> f64 {
    -(1.0 - share).log10()
}

fn axis(nines: u32) -> Scale {
    let tick = |value: f64, label: String, rank: u32| Tick { value, label, rank };
    let mut ticks = vec![tick(0.0, "0".to_owned(), 2), tick(across(0.5), "50 %".to_owned(), 4)];
    for nine in 1..=nines {
        let decimals = nine.saturating_sub(2) as usize;
        let label = format!("{:.decimals$} %", 100.0 - 10_f64.powi(2 - nine as i32));
        ticks.push(tick(f64::from(nine), label, if nine % 2 == 0 { 1 } else { 3 }));
    }
    let end = f64::from(nines) + MAX_BEYOND;
    ticks.push(tick(end, "max".to_owned(), 0));
    Scale::with_ticks(0.0, end, ticks)
}

/// Nines and nanoseconds; from where the answers end, level to the maximum.
fn line(latency: &Latency, nines: u32, end: f64) -> Vec<(f64, f64)> {
    let mut counted = 0;
    let ranks = latency.buckets().map(|(upper, count)| {
        counted += count;
        (counted, upper.min(latency.max()))
    });
    let ranks = ranks.collect::<Vec<_>>();
    let at = |x: f64| {
        let rank = ((1.0 - 10_f64.powf(-x)).max(LOWEST_SHARE) * counted as f64).ceil().max(1.0) as u64;
        let found = ranks.partition_point(|(below, _)| *below < rank);
        ranks.get(found).map_or(latency.max(), |(_, upper)| *upper) as f64
    };
    let steps = (0..=nines * POINTS_PER_NINE).map(|step| f64::from(step) / f64::from(POINTS_PER_NINE));
    steps.map(|x| (x, at(x))).chain([(end, latency.max() as f64)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nine_has_as_much_room_as_the_last() {
        let nines = [0.9, 0.99, 0.999].map(across);
        assert!(nines.iter().zip([1.0, 2.0, 3.0]).all(|(found, expected)| (found - expected).abs() < 1e-9));
        let labels = axis(4).ticks.into_iter().map(|tick| tick.label).collect::<Vec<_>>();
        assert_eq!(labels, ["0", "50 %", "90 %", "99 %", "99.9 %", "99.99 %", "max"]);
    }

    #[test]
    fn the_line_is_the_distribution() {
        let mut latency = Latency::default();
        (1..=10_000_u64).for_each(|step| latency.record(step * 1_000));
        let line = line(&latency, 4, 4.5);
        assert!(line.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1));
        let at_99 = line.iter().find(|(x, _)| (*x - 2.0).abs() < 1e-9).unwrap().1;
        assert!((at_99 / 9_900_000.0 - 1.0).abs() < 0.002, "{at_99}");
        assert_eq!(line.last().unwrap().1, latency.max() as f64);
    }
}
