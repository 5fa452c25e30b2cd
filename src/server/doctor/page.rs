//! The report for people: the sum in a sentence, a table, and what is to be done.
//!
//! No line is wider than [`WIDTH`], but for the sum and for commands, which are to be found and copied whole.

use std::fmt::Write as _;

use crate::config::units::{grouped, size_about};
use crate::server::budget::{IDLE_BYTES, IDLE_KERNEL_BYTES};

use super::Report;
use super::check::{Check, Verdict};

/// Fits the narrowest terminal anybody has.
const WIDTH: usize = 80;
/// Below this a number is told as it is; above, three digits say what there is to say.
const EXACT_BELOW: u64 = 100_000;

/// The whole page.
pub fn page(report: &Report) -> String {
    let mut page = format!("{}\n{}\n\n", sum(report), answer(report));
    page.push_str(&row(["limit", "here", "wanted", "holds", "verdict"]));
    for check in &report.checks {
        page.push_str(&check_row(check));
    }
    for verdict in [Verdict::Binds, Verdict::Slows] {
        for check in report.checks.iter().filter(|check| check.verdict == verdict) {
            page.push_str(&advice(check));
        }
    }
    page.push_str(&footer(report));
    page
}

fn sum(report: &Report) -> String {
    let with = match report.needs_telling_reactors {
        true => format!(" with --reactors {}", report.reactors),
        false => String::new(),
    };
    let possible = about(report.possible);
    format!("this host can hold {possible} connections{with}; first limit: {}", report.first_limit)
}

fn answer(report: &Report) -> String {
    let asked = grouped(report.asked);
    if !report.fits() {
        let binding = report.checks.iter().filter(|check| check.verdict == Verdict::Binds);
        let names: Vec<&str> = binding.map(|check| check.name.as_str()).collect();
        return wrapped(&format!("{asked} asked for: does not fit, for want of {}", names.join(", ")), "");
    }
    match report.checks.iter().any(|check| check.verdict == Verdict::Slows) {
        false => format!("{asked} asked for: fits"),
        true => format!("{asked} asked for: fits; what slows it down is below"),
    }
}

/// `about 1 050 000`: never more than there is.
fn about(count: u64) -> String {
    if count < EXACT_BELOW {
        return grouped(count);
    }
    let step = 10u64.pow(count.ilog10() - 2);
    format!("about {}", grouped(count / step * step))
}

fn check_row(check: &Check) -> String {
    let show = |number: Option<u64>| number.map_or_else(dash, |number| check.unit.show(number));
    let holds = check.holds.map_or_else(dash, held);
    row([&check.name, &show(check.here), &show(check.wanted), &holds, check.verdict.as_str()])
}

fn dash() -> String {
    String::from("-")
}

/// Beyond what connections can be told apart the exact number says nothing.
fn held(connections: u64) -> String {
    match connections {
        0..1_000_000_000 => grouped(connections),
        _ => String::from("any number"),
    }
}

fn row([name, here, wanted, holds, verdict]: [&str; 5]) -> String {
    format!("  {name:<30} {here:>13} {wanted:>13} {holds:>11} {verdict}\n")
}

fn advice(check: &Check) -> String {
    let verdict = check.verdict.as_str();
    let mut text = format!("\n{}\n", wrapped(&format!("{verdict}: {}: {}", check.name, check.why), "  "));
    for remedy in &check.remedies {
        let _ = writeln!(text, "    {:<16} {}", remedy.place, remedy.command);
    }
    text
}

fn footer(report: &Report) -> String {
    let mut text = String::from("\n");
    if !report.fits() && report.possible >= u64::from(report.reactors) {
        let (reactors, possible) = (report.reactors, report.possible);
        let _ =
            writeln!(text, "the most that fits: myriapod --reactors {reactors} --max-connections {possible}");
    }
    let bytes = IDLE_BYTES + IDLE_KERNEL_BYTES;
    let all = size_about(bytes * report.asked);
    let client = match report.with_client {
        true => "a client on this machine takes as much again, which is reckoned in",
        false => "a client on this machine takes as much again (--with-client)",
    };
    let told = format!("{} idle connections take {all}, {bytes} B each; {client}", grouped(report.asked));
    text + &wrapped(&told, "") + "\n"
}

/// Breaks a text at spaces; lines after the first begin with `indent`.
fn wrapped(text: &str, indent: &str) -> String {
    let (mut lines, mut width) = (String::new(), 0);
    for word in text.split(' ') {
        let len = word.chars().count();
        if width > 0 && width + 1 + len > WIDTH {
            lines.push('\n');
            lines.push_str(indent);
            width = indent.len();
        } else if width > 0 {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += len;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_rounded_down_to_three_digits() {
        assert_eq!(about(39_964), "39 964");
        assert_eq!(about(100_999), "about 100 000");
        assert_eq!(about(1_053_640), "about 1 050 000");
    }

    #[test]
    fn lines_break_at_spaces() {
        let text = wrapped(&"word ".repeat(40), "  ");
        assert!(text.lines().count() == 3 && text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert_eq!(wrapped("short", "  "), "short");
    }
}
