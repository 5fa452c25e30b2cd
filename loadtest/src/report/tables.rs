//! The tables of a report: loads, steps, slopes, servers beside each other, what the server told of itself.
//!
//! Text and page show the same ones from the same columns; the page, which is wider, shows them all.

use super::slope::{Slope, slopes};
use super::table::Table;
use super::units::{self, UNKNOWN};
use super::{Case, Held, Load, Ratio, Report, Step, Versus};
use crate::engine::latency::Latency;

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// A terminal of 100 columns.
    Terminal,
    /// A page.
    Page,
}

/// A column: its title, the narrowest room that has it, its cell of a row.
type Of<Row> = (&'static str, Room, fn(&Row) -> String);

const RATE: &[Of<Load>] = &[
    ("wanted", Room::Terminal, |load| load.rate_wanted.map_or_else(unknown, units::rate)),
    ("rate", Room::Terminal, |load| units::rate(load.rate)),
    ("achieved", Room::Page, |load| load.rate_wanted.map_or_else(unknown, |_| units::share(load.achieved()))),
    ("answers", Room::Page, |load| units::count(load.answers)),
    ("errors", Room::Terminal, |load| units::count(load.errors_total())),
    ("busiest thread", Room::Page, |load| nonzero(load.busiest_thread, units::share)),
    ("server CPU per answer", Room::Page, |load| {
        load.cpu_ns_per_answer().map_or_else(unknown, units::nanoseconds)
    }),
];

const LATENCY: &[Of<Load>] = &[
    ("p50", Room::Terminal, |load| at(&load.latency, 0.5)),
    ("p90", Room::Page, |load| at(&load.latency, 0.9)),
    ("p99", Room::Terminal, |load| at(&load.latency, 0.99)),
    ("p99.9", Room::Terminal, |load| at(&load.latency, 0.999)),
    ("p99.99", Room::Page, |load| at(&load.latency, 0.9999)),
    ("max", Room::Terminal, |load| at(&load.latency, 1.0)),
    ("mean", Room::Page, |load| mean(&load.latency)),
    ("lag p99", Room::Terminal, |load| at(&load.lag, 0.99)),
];

const STEP: &[Of<Step>] = &[
    ("opened in", Room::Terminal, |step| nonzero(step.open_seconds, units::seconds)),
    ("opened", Room::Terminal, |step| nonzero(step.open_rate, units::rate)),
    ("server", Room::Terminal, |step| {
        step.server_bytes.map_or_else(unknown, |bytes| units::bytes(bytes as f64))
    }),
    ("kernel slabs", Room::Terminal, |step| units::bytes(step.slab_bytes as f64)),
    ("machine", Room::Terminal, |step| units::bytes(step.used_bytes as f64)),
    ("generator", Room::Page, |step| units::bytes(step.own_bytes as f64)),
    ("idle CPU", Room::Terminal, |step| step.server_idle_share.map_or_else(unknown, units::share)),
];

const VERSUS: &[Of<Versus>] = &[
    ("rate", Room::Terminal, |one| units::rate(one.rate)),
    ("to the first", Room::Terminal, |one| ratio(Some(one.rate_ratio))),
    ("CPU/request", Room::Terminal, |one| {
        one.cpu_us_per_request.map_or_else(unknown, |us| units::nanoseconds(us * 1e3))
    }),
    ("to the first", Room::Terminal, |one| ratio(one.cpu_ratio)),
    ("p50", Room::Page, |one| units::nanoseconds(one.p50_ns)),
    ("p99", Room::Terminal, |one| units::nanoseconds(one.p99_ns)),
    ("answer", Room::Page, |one| units::bytes(one.answer_bytes)),
    ("server/connection", Room::Terminal, |one| held(one, |held| units::bytes(held.server_bytes))),
    ("to the first", Room::Terminal, |one| ratio(one.memory.map(|held| held.ratio))),
    ("kernel/connection", Room::Terminal, |one| held(one, |held| units::bytes(held.kernel_bytes))),
    ("errors", Room::Terminal, |one| units::count(one.errors)),
];

/// Points of a distribution that are told, in their order.
pub const POINTS: &[(&str, f64)] =
    &[("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];

fn unknown() -> String {
    UNKNOWN.to_owned()
}

/// Nothing was opened to get to no connections, and that took no time worth telling.
fn nonzero(value: f64, told: fn(f64) -> String) -> String {
    if value == 0.0 { unknown() } else { told(value) }
}

fn at(latency: &Latency, share: f64) -> String {
    if latency.count() == 0 { unknown() } else { units::nanoseconds(latency.quantile(share) as f64) }
}

fn mean(latency: &Latency) -> String {
    if latency.count() == 0 { unknown() } else { units::nanoseconds(latency.mean()) }
}

/// `1.07 (1.06..1.09)`.
fn ratio(ratio: Option<Ratio>) -> String {
    let told = |Ratio { middle, low, high }| {
        let decimals = units::ratio_decimals(middle);
        format!("{middle:.decimals$} ({low:.decimals$}..{high:.decimals$})")
    };
    ratio.filter(|ratio| ratio.middle.is_finite()).map_or_else(unknown, told)
}

fn held(one: &Versus, told: fn(&Held) -> String) -> String {
    one.memory.as_ref().map_or_else(unknown, told)
}

fn columns<Row>(all: &[Of<Row>], room: Room) -> impl Iterator<Item = &Of<Row>> + Clone {
    all.iter().filter(move |(_, least, _)| room == Room::Page || *least == Room::Terminal)
}

fn of_rows<Row>(title: &str, all: &[Of<Row>], room: Room, rows: &[(String, &Row)]) -> Table {
    let titles = std::iter::once(title).chain(columns(all, room).map(|(title, ..)| *title));
    let mut table = Table::with_columns(&titles.collect::<Vec<_>>());
    for (name, row) in rows {
        let cells = columns(all, room).map(|(.., cell)| cell(row));
        table.push(std::iter::once(name.clone()).chain(cells).collect());
    }
    table.without_empty(UNKNOWN)
}

/// One row a load: rates and latencies beside each other.
#[must_use]
pub fn loads(report: &Report) -> Table {
    of_rows("load", &[RATE, LATENCY].concat(), Room::Terminal, &named(report))
}

/// One row a load: what was asked and answered, for a page.
#[must_use]
pub fn rates(report: &Report) -> Table {
    of_rows("load", RATE, Room::Page, &named(report))
}

/// One row a load: how long it took, for a page.
#[must_use]
pub fn latencies(report: &Report) -> Table {
    of_rows("load", LATENCY, Room::Page, &named(report))
}

fn named(report: &Report) -> Vec<(String, &Load)> {
    report.loads.iter().map(|load| (load.name.clone(), load)).collect()
}

/// Latency of one load, and the generator's lag below it.
#[must_use]
pub fn points(load: &Load) -> Table {
    let titles = POINTS.iter().map(|(title, _)| *title);
    let mut table =
        Table::with_columns(&std::iter::once("").chain(titles).chain(["mean"]).collect::<Vec<_>>());
    for (name, latency) in [("latency", &load.latency), ("lag", &load.lag)] {
        let points = POINTS.iter().map(|(_, share)| at(latency, *share));
        let row = std::iter::once(name.to_owned()).chain(points).chain([mean(latency)]).collect();
        if latency.count() > 0 || name == "latency" {
            table.push(row);
        }
    }
    table
}

/// One row a number of connections, with what its probe saw.
#[must_use]
pub fn steps(report: &Report, room: Room) -> Table {
    let rows = report.steps.iter().map(|step| (units::count(step.connections), step)).collect::<Vec<_>>();
    let mut table = of_rows("connections", STEP, room, &rows);
    table.columns[0].is_figure = true;
    for (title, share) in [("probe p50", 0.5), ("probe p99", 0.99)] {
        let mut with = table.columns[0].clone();
        with.title = title.to_owned();
        table.columns.push(with);
        for (row, step) in table.rows.iter_mut().zip(&report.steps) {
            let probe = step.probe.and_then(|probe| report.loads.get(probe));
            row.push(probe.map_or_else(unknown, |load| at(&load.latency, share)));
        }
    }
    table.without_empty(UNKNOWN)
}

/// One row a kind of memory.
#[must_use]
pub fn memory(report: &Report) -> Table {
    let slopes = slopes(report);
    let kinds = [
        ("server", slopes.server),
        ("kernel slabs", slopes.kernel),
        ("machine", slopes.machine),
        ("generator", slopes.own),
    ];
    let mut table =
        Table::with_columns(&["memory", "a connection adds", "standard error", "fit", "with none"]);
    for (name, slope) in kinds {
        table.rows.extend(slope.map(|slope| line(name, &slope)));
    }
    table.without_empty(UNKNOWN)
}

fn line(name: &str, slope: &Slope) -> Vec<String> {
    // An error that rounding made is none.
    let error =
        slope.standard_error.map_or_else(unknown, |error| units::bytes((error * 100.0).round() / 100.0));
    vec![
        name.to_owned(),
        units::bytes(slope.bytes_per_connection),
        error,
        format!("{:.4}", slope.fit),
        units::bytes(slope.base_bytes),
    ]
}

/// One row a server.
#[must_use]
pub fn case(case: &Case, room: Room) -> Table {
    let rows = case.results.iter().map(|one| (one.server.clone(), one)).collect::<Vec<_>>();
    of_rows("server", VERSUS, room, &rows)
}

/// What the server told of itself at the last step.
#[must_use]
pub fn scraped(report: &Report) -> Table {
    let mut table = Table::with_columns(&["metric of the server", "series", "least", "most", "sum"]);
    for one in report.steps.last().iter().flat_map(|step| &step.scraped) {
        let figures = [one.series as f64, one.least, one.most, one.sum].map(units::number);
        table.push(std::iter::once(one.name.clone()).chain(figures).collect());
    }
    table
}
