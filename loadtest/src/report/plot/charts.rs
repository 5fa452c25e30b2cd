//! Which plots a report has, in the order they are shown.

use super::{Plot, load, memory, percentiles, probes, ratios, time};
use crate::report::Report;

/// Those there is something to draw for.
#[must_use]
pub fn all(report: &Report) -> Vec<Plot> {
    let plots = [
        memory::plot(report),
        probes::plot(report),
        ratios::of_rates(report),
        ratios::of_cpu(report),
        ratios::of_memory(report),
        load::throughput(report),
        load::latency(report),
        percentiles::plot(report),
        time::plot(report),
    ];
    plots.into_iter().flatten().collect()
}
