//! A comparison: each server over the first, as a dot with its confidence interval, case by case.
//!
//! The band behind a case is what the first server shows against itself (the control): what lies within it
//! is no difference. The small dots are the blocks the median came of.

use super::frame::SIZE;
use super::pen::{Anchor, Area, Pen, width_of};
use super::scale::Scale;
use super::{Picture, Plot};
use crate::report::{Case, Comparison, Ratio, Report, Versus, units};

/// Which ratio of a server is drawn; blocks where they are known.
struct What {
    of: fn(&Versus) -> Option<Ratio>,
    has_blocks: bool,
    axis: &'static str,
}

const ROW: f64 = 24.0;
const CASE_HEAD: f64 = 30.0;
const CASE_FOOT: f64 = 30.0;

pub fn of_rates(report: &Report) -> Option<Plot> {
    let what = What {
        of: |one| Some(one.rate_ratio),
        has_blocks: true,
        axis: "rate over the first server's, more is better",
    };
    plot(report, &what, "ratio-rate", "Throughput compared")
}

pub fn of_cpu(report: &Report) -> Option<Plot> {
    let what = What {
        of: |one| one.cpu_ratio,
        has_blocks: false,
        axis: "CPU over the first server's, less is better",
    };
    plot(report, &what, "ratio-cpu", "CPU time per request compared")
}

pub fn of_memory(report: &Report) -> Option<Plot> {
    let what = What {
        of: |one| one.memory.map(|held| held.ratio),
        has_blocks: false,
        axis: "server memory over the first's, less is better",
    };
    plot(report, &what, "ratio-memory", "Memory of an idle connection compared")
}

fn plot(report: &Report, what: &What, name: &'static str, title: &'static str) -> Option<Plot> {
    let comparison = report.comparison.as_ref()?;
    let first = comparison.servers.first()?;
    if comparison.cases.iter().all(|case| rows(case, first, what).is_empty()) {
        return None;
    }
    let about = format!(
        "Medians of all blocks, each over {first}'s, with 95 % confidence; within the band is no difference."
    );
    Some(Plot::draw(name, title, about, |width| draw(comparison, first, what, width)))
}

/// Rows of a case: all but the first server, which is 1 by itself.
fn rows<'a>(case: &'a Case, first: &str, what: &What) -> Vec<Row<'a>> {
    let others = case.results.iter().filter(|one| one.server != first);
    let known = others.filter_map(|one| Some((one, (what.of)(one)?)));
    known
        .filter(|(_, ratio)| [ratio.low, ratio.middle, ratio.high].iter().all(|end| end.is_finite()))
        .collect()
}

/// What all cases of a picture share.
struct Sheet<'a> {
    what: &'a What,
    first: &'a str,
    /// From the names to the figures.
    left: f64,
    right: f64,
    width: f64,
}

/// A server's row and its ratio.
type Row<'a> = (&'a Versus, Ratio);

fn draw(comparison: &Comparison, first: &str, what: &What, width: f64) -> Picture {
    let cases = comparison.cases.iter().map(|case| (case, rows(case, first, what))).collect::<Vec<_>>();
    let all = || cases.iter().flat_map(|(_, rows)| rows);
    let names = all().map(|(one, _)| width_of(&one.server, SIZE)).fold(0.0, f64::max) + 14.0;
    let figures = all().map(|(_, ratio)| width_of(&told(*ratio, is_narrow(width)), SIZE)).fold(0.0, f64::max);
    let sheet = Sheet { what, first, left: names, right: width - figures - 14.0, width };

    let mut pen = Pen::default();
    let mut top = 0.0;
    for (case, rows) in cases.iter().filter(|(_, rows)| !rows.is_empty()) {
        Panel::of(&sheet, case, rows, top).draw(&mut pen);
        top += CASE_HEAD + rows.len() as f64 * ROW + CASE_FOOT;
    }
    pen.text("muted", (width, top + 8.0), Anchor::End, what.axis);
    Picture { width, height: top + 16.0, body: pen.finish() }
}

fn is_narrow(width: f64) -> bool {
    width < 500.0
}

/// One case: a scale of its own, since what is close in one case would be a point beside another's factors.
struct Panel<'a> {
    sheet: &'a Sheet<'a>,
    case: &'a Case,
    rows: &'a [Row<'a>],
    scale: Scale,
    area: Area,
}

impl<'a> Panel<'a> {
    fn of(sheet: &'a Sheet<'a>, case: &'a Case, rows: &'a [Row<'a>], top: f64) -> Panel<'a> {
        let ends = rows.iter().flat_map(|(_, ratio)| [ratio.low, ratio.high]);
        let width = (sheet.right - sheet.left).max(60.0);
        let scale = Scale::ratios(ends, ((width / 56.0) as usize).clamp(2, 8));
        let area = Area { left: sheet.left, top: top + CASE_HEAD, width, height: rows.len() as f64 * ROW };
        Panel { sheet, case, rows, scale, area }
    }

    fn across(&self, ratio: f64) -> f64 {
        self.area.left + self.scale.at(ratio).clamp(0.0, 1.0) * self.area.width
    }

    fn draw(&self, pen: &mut Pen) {
        let verdict = if self.case.holds { "" } else { ": the control does not hold" };
        let title = format!("{}{verdict}", self.case.name);
        pen.text("strong", (0.0, self.area.top - 10.0), Anchor::Start, &title);
        self.draw_band(pen);
        self.draw_grid(pen);
        for (place, row) in self.rows.iter().enumerate() {
            self.draw_row(pen, row, self.area.top + (place as f64 + 0.5) * ROW);
        }
    }

    fn draw_grid(&self, pen: &mut Pen) {
        let (top, bottom) = (self.area.top, self.area.bottom());
        let mut free = f64::NEG_INFINITY;
        for tick in &self.scale.ticks {
            let x = self.across(tick.value);
            let class = if (tick.value - 1.0).abs() < 1e-9 { "axis" } else { "grid" };
            pen.line(class, (x, top), (x, bottom + 3.0));
            let half = width_of(&tick.label, SIZE) / 2.0 + 3.0;
            if x - half > free {
                pen.text("tick", (x, bottom + 16.0), Anchor::Middle, &tick.label);
                free = x + half;
            }
        }
    }

    fn control(&self) -> String {
        format!("{} again", self.sheet.first)
    }

    fn draw_band(&self, pen: &mut Pen) {
        let control = self.control();
        let Some((_, band)) = self.rows.iter().find(|(one, _)| one.server == control) else { return };
        let (left, right) = (self.across(band.low), self.across(band.high));
        let area = Area { left, width: (right - left).max(2.0), ..self.area };
        pen.area("fill c5", area, &format!("{control}: {}", told(*band, false)));
    }

    fn draw_row(&self, pen: &mut Pen, (one, ratio): &Row<'_>, y: f64) {
        let Sheet { width, first, what, .. } = self.sheet;
        let class = if one.server == self.control() { "c5" } else { "c0" };
        pen.text("label", (0.0, y + 4.0), Anchor::Start, &one.server);
        pen.text("muted", (*width, y + 4.0), Anchor::End, &told(*ratio, is_narrow(*width)));
        let base = self.case.results.iter().find(|one| one.server == *first);
        for block in blocks(one, base).filter(|_| what.has_blocks) {
            pen.dot(&format!("dot faint {class}"), (self.across(block), y + 7.0), 1.8, "");
        }
        let (low, high) = (self.across(ratio.low), self.across(ratio.high));
        pen.line(&format!("line {class}"), (low, y), (high, y));
        for end in [low, high] {
            pen.line(&format!("line {class}"), (end, y - 4.0), (end, y + 4.0));
        }
        let title = format!("{}, {}: {}", self.case.name, one.server, told(*ratio, false));
        pen.dot(&format!("dot halo {class}"), (self.across(ratio.middle), y), 4.0, &title);
    }
}

/// Ratio of each block, where both servers ran in it.
fn blocks<'a>(one: &'a Versus, base: Option<&'a Versus>) -> impl Iterator<Item = f64> + 'a {
    let base = base.map_or(&[][..], |base| &base.rates);
    one.rates.iter().zip(base).map(|(rate, base)| rate / base).filter(|ratio| ratio.is_finite())
}

fn told(Ratio { middle, low, high }: Ratio, is_short: bool) -> String {
    // Near 1 the third decimal is what a comparison is about.
    let decimals = if middle < 2.0 { 3 } else { units::ratio_decimals(middle) };
    if is_short {
        return format!("{middle:.decimals$}");
    }
    format!("{middle:.decimals$} ({low:.decimals$}..{high:.decimals$})")
}
