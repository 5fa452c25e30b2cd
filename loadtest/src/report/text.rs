//! What is printed when a run is over: at most 100 columns, and first of all whether it counts.
//!
//! Plain text without colours, so that it is the same in a file. What is too wide for a terminal is in JSON
//! and on the page.

use std::io::{self, Write};

use super::expect::Judgement;
use super::table::Table;
use super::tables::{self, Room};
use super::{Comparison, Fact, Load, Report, units};

const MARGIN: &str = "  ";
/// Labels of single lines are padded to this, or to the longest fact.
const LABEL_CHARS_MIN: usize = 9;
/// Longer text is broken between words.
const LINE_CHARS_MAX: usize = 100;

/// Tells all of a report.
///
/// # Errors
///
/// Those of the writer.
pub fn tell(report: &Report, out: &mut impl Write) -> io::Result<()> {
    head(report, out)?;
    facts(report, out)?;
    match report.loads.as_slice() {
        [] => {}
        [load] if report.steps.is_empty() => one_load(load, out)?,
        _ => loads(report, out)?,
    }
    for table in [tables::steps(report, Room::Terminal), tables::memory(report), tables::scraped(report)] {
        block(&table, out)?;
    }
    if let Some(comparison) = &report.comparison {
        self::comparison(comparison, out)?;
    }
    foot(report, out)
}

fn head(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let parts = [report.mode, report.target.as_str()].map(str::trim);
    let length = match report.loads.as_slice() {
        [load] => units::seconds(load.seconds),
        _ => String::new(),
    };
    let parts = parts.into_iter().chain([length.as_str()]).filter(|part| !part.is_empty());
    writeln!(out, "{}", parts.collect::<Vec<_>>().join(" · "))?;
    for why in &report.invalid {
        line("INVALID", LABEL_CHARS_MIN, why, out)?;
    }
    writeln!(out)
}

fn facts(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let width = report.facts.iter().map(|fact| fact.label.chars().count()).max().unwrap_or(0);
    for Fact { label, value, unit, .. } in &report.facts {
        line(label, width.max(LABEL_CHARS_MIN), &units::told(*value, *unit), out)?;
    }
    if report.facts.is_empty() { Ok(()) } else { writeln!(out) }
}

fn one_load(load: &Load, out: &mut impl Write) -> io::Result<()> {
    let mut say = |label: &str, text: &str| line(label, LABEL_CHARS_MIN, text, out);
    say("rate", &rate(load))?;
    let per_second = units::bytes(load.bytes_received as f64 / load.seconds.max(f64::MIN_POSITIVE));
    let received = units::bytes(load.bytes_received as f64);
    say("answers", &format!("{}, {received} received, {per_second}/s", units::count(load.answers)))?;
    say("errors", &errors(load))?;
    if let Some(cpu_ns) = load.cpu_ns_per_answer() {
        let cpus = load.server_cpu_seconds.unwrap_or_default() / load.seconds;
        let each = units::nanoseconds(cpu_ns);
        say("server", &format!("{} of a CPU, {each} for an answer", units::share(cpus)))?;
    }
    if load.busiest_thread > 0.0 {
        say("generator", &format!("{} of a CPU, its busiest thread", units::share(load.busiest_thread)))?;
    }
    writeln!(out)?;
    block(&tables::points(load), out)
}

fn rate(load: &Load) -> String {
    let rate = units::rate(load.rate);
    match load.rate_wanted {
        Some(wanted) => {
            format!("{rate} of {} wanted, {}", units::rate(wanted), units::share(load.achieved()))
        }
        None => rate,
    }
}

/// `none`, or how many and of what kinds, the most frequent first.
pub fn errors(load: &Load) -> String {
    if load.errors_total() == 0 {
        return "none".to_owned();
    }
    let mut kinds = load.errors.iter().filter(|(_, count)| **count > 0).collect::<Vec<_>>();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let kinds = kinds.iter().map(|(kind, count)| format!("{} {kind}", units::count(**count)));
    let kinds = kinds.collect::<Vec<_>>();
    let share = units::share(load.errors_total() as f64 / (load.requests.max(load.errors_total())) as f64);
    match kinds.as_slice() {
        [only] => format!("{only}, {share} of requests"),
        _ => format!("{}, {share} of requests: {}", units::count(load.errors_total()), kinds.join(", ")),
    }
}

fn loads(report: &Report, out: &mut impl Write) -> io::Result<()> {
    block(&tables::loads(report), out)?;
    let failed = report.loads.iter().filter(|load| load.errors_total() > 0);
    let mut any = false;
    for load in failed {
        line(&load.name, LABEL_CHARS_MIN, &errors(load), out)?;
        any = true;
    }
    if any { writeln!(out) } else { Ok(()) }
}

fn comparison(comparison: &Comparison, out: &mut impl Write) -> io::Result<()> {
    for case in &comparison.cases {
        let control = if case.holds { "" } else { " · INVALID: the control does not hold" };
        writeln!(out, "{MARGIN}{}, {} blocks{control}", case.name, case.blocks)?;
        block(&tables::case(case, Room::Terminal), out)?;
    }
    let blocks = units::count(u64::from(comparison.blocks));
    let text =
        format!("medians of {blocks} blocks in random order, seed {}; 95 % confidence", comparison.seed);
    line("compared", LABEL_CHARS_MIN, &text, out)
}

fn foot(report: &Report, out: &mut impl Write) -> io::Result<()> {
    if !report.checked.is_empty() {
        line("checked", LABEL_CHARS_MIN, &report.checked, out)?;
    }
    for remark in &report.remarks {
        line("remark", LABEL_CHARS_MIN, remark, out)?;
    }
    if !report.judgements.is_empty() {
        writeln!(out)?;
    }
    let width = report.judgements.iter().map(|one| one.expectation.chars().count()).max().unwrap_or(0);
    for Judgement { expectation, held, told, of, .. } in &report.judgements {
        let of = if of.is_empty() { String::new() } else { format!(" ({of})") };
        let held = if *held { "held" } else { "FAILED" };
        line(held, LABEL_CHARS_MIN, &format!("{expectation:<width$}  {told}{of}"), out)?;
    }
    Ok(())
}

/// A table and a line of air, where there is anything in it.
fn block(table: &Table, out: &mut impl Write) -> io::Result<()> {
    if table.is_empty() {
        return Ok(());
    }
    table.write(MARGIN, out)?;
    writeln!(out)
}

/// A label and its text, broken below itself where it is long.
fn line(label: &str, width: usize, text: &str, out: &mut impl Write) -> io::Result<()> {
    let indent = MARGIN.len() + width.max(label.chars().count()) + 2;
    let mut row = format!("{MARGIN}{label:<width$}  ");
    let mut is_empty = true;
    for piece in pieces(text) {
        let is_full = row.chars().count() + piece.trim_end().chars().count() > LINE_CHARS_MAX;
        if is_full && !is_empty {
            writeln!(out, "{}", row.trim_end())?;
            row = " ".repeat(indent);
        }
        row.push_str(piece);
        is_empty = false;
    }
    writeln!(out, "{}", row.trim_end())
}

/// Words, with what follows a digit in one piece with it: `1 408 status` is not torn apart.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut begin = 0;
    for (space, _) in text.match_indices(' ') {
        if !text[..space].ends_with(|c: char| c.is_ascii_digit()) {
            pieces.push(&text[begin..=space]);
            begin = space + 1;
        }
    }
    pieces.push(&text[begin..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn told(report: &Report) -> String {
        let mut out = Vec::new();
        tell(report, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_report_fits_a_terminal() {
        for (name, report) in samples::all() {
            let text = told(&report);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= LINE_CHARS_MAX, "{name}: {widest} columns\n{text}");
            assert!(text.lines().all(|line| line.trim_end() == line), "{name}\n{text}");
            assert!(!text.contains("NaN") && !text.contains("inf"), "{name}\n{text}");
        }
    }

    #[test]
    fn a_run_that_does_not_count_says_so_first() {
        let text = told(&samples::closed_bad());
        let second = text.lines().nth(1).unwrap();
        assert_eq!(second, "  INVALID    62 732 of 158 132 requests failed");
        assert!(!told(&samples::closed()).contains("INVALID"));
        assert!(told(&samples::compare()).contains("connection per request, 12 blocks · INVALID"));
    }

    #[test]
    fn errors_are_told_by_kind_the_most_frequent_first() {
        let text = told(&samples::closed_bad());
        assert!(text.contains("40 221 timeout, 21 088 reset, 1 408 status, 12 refused,\n"), "{text}");
        assert!(told(&samples::sweep()).contains("  90 %       3 timeout, <0.01 % of requests\n"));
        assert!(told(&samples::closed()).contains("\n  errors     none\n"));
    }

    #[test]
    fn one_load_is_told_in_full() {
        let text = told(&samples::open());
        for part in
            ["79 968/s of 80 000/s wanted, 99.96 %", "p99.99", "lag", "of a CPU, 6.01 µs for an answer"]
        {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(text.contains("FAILED") && text.contains("held"), "{text}");
    }

    #[test]
    fn held_connections_are_told_by_their_slope_user_and_kernel_apart() {
        let text = told(&samples::hold());
        let has = |start: &str, part: &str| {
            text.lines().any(|line| line.trim_start().starts_with(start) && line.contains(part))
        };
        assert!(has("server", "61.4 B"), "{text}");
        assert!(has("kernel slabs", "7.7"), "{text}");
        assert!(has("1 000 000", "GiB"), "{text}");
    }

    #[test]
    fn every_load_of_a_sweep_has_its_row() {
        let text = told(&samples::sweep());
        for step in 1..=9 {
            let row = text.lines().find(|line| line.trim_start().starts_with(&format!("{step}0 %")));
            assert!(row.is_some_and(|row| row.contains("/s")), "{text}");
        }
    }
}
