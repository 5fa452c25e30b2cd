//! Latency of a small steady load beside more and more held connections.

use super::Plot;
use super::frame::ticks_across;
use super::load::draw_latency;
use super::scale::Scale;
use crate::report::{Load, Report};

pub fn plot(report: &Report) -> Option<Plot> {
    let probed =
        report.steps.iter().filter_map(|step| Some((step.connections, report.loads.get(step.probe?)?)));
    let answered = probed.filter(|(_, load)| load.latency.count() > 0);
    let points: Vec<(f64, &Load)> = answered.map(|(count, load)| (count as f64, load)).collect();
    if points.len() < 2 {
        return None;
    }
    let about = "The same small load, asked at each step while the others stay silent.".to_owned();
    let draw = |width: f64| {
        let x = Scale::counted(points.iter().map(|(count, _)| *count), ticks_across(width, 5));
        draw_latency(&points, x, "connections held", width)
    };
    Some(Plot::draw("probe-connections", "Latency beside held connections", about, draw))
}
