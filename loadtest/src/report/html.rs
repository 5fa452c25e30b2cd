//! The report as one page: verdict, figures, plots with their tables, what was expected.
//!
//! Promises: one file that needs no network, no script and no font; light or dark as the reader's system is;
//! readable on a phone, where other drawings of the plots take over; well-formed XML; what came from outside
//! is escaped. What the plots look like is in `plot/`.

use super::plot::{self, PAGE_COLOURS, Plot, escape};
use super::slope::slopes;
use super::table::Table;
use super::tables::{self, Room};
use super::{Report, text, units};

/// The whole file.
#[must_use]
pub fn page(report: &Report) -> String {
    let title =
        escape(format!("myriapod-load {} · {}", report.mode, report.target).trim_end_matches([' ', '·']));
    let parts = [
        head(report),
        figures(report),
        judgements(report),
        remarks(report),
        sections(report),
        method(report),
    ];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n<title>{title}</title>\n\
         <style>{}{STYLE}{}</style>\n</head>\n<body>\n<main>\n{}</main>\n</body>\n</html>\n",
        colours(),
        plot::style(),
        parts.concat(),
    )
}

/// CSS variables: whoever reads pages is a browser.
fn colours() -> String {
    let set = |is_dark: bool| {
        let rule = |(name, light, dark): &(&str, &str, &str)| {
            format!("--{name}:{};", if is_dark { dark } else { light })
        };
        PAGE_COLOURS.iter().map(rule).collect::<String>()
    };
    format!("\n:root{{{}}}\n@media (prefers-color-scheme:dark){{:root{{{}}}}}\n", set(false), set(true))
}

const STYLE: &str = "\
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);line-height:1.5;
font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}
main{max-width:908px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:27px;line-height:1.25;margin:0;font-weight:650}
.target{font-size:17px;overflow-wrap:anywhere;margin:2px 0}
h2{font-size:19px;margin:44px 0 2px;font-weight:650}
h3{font-size:15px;margin:20px 0 4px;font-weight:600}
p{margin:4px 0}
.muted{color:var(--muted)}
.about{color:var(--muted);font-size:14.5px;margin:0 0 14px}
code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'Liberation Mono',monospace;font-size:.9em}
.command{display:block;background:var(--raised);border:1px solid var(--lines);border-radius:6px;
padding:8px 12px;margin:12px 0 0;overflow-wrap:anywhere;white-space:pre-wrap}
.verdict{display:inline-block;border-radius:99px;border:1.5px solid;padding:0 12px;font-size:14px;
font-weight:600;margin:0 8px 12px 0}
.good{color:var(--good)}
.bad{color:var(--bad)}
.why{border-left:3px solid var(--bad);padding:2px 0 2px 12px;margin:12px 0}
.note{border-left:3px solid var(--lines);padding:2px 0 2px 12px;margin:12px 0}
.figures{display:grid;gap:12px;margin:24px 0 0}
.of-3{grid-template-columns:repeat(3,1fr)}
.of-4{grid-template-columns:repeat(4,1fr)}
.of-5{grid-template-columns:repeat(5,1fr)}
.figure{background:var(--raised);border:1px solid var(--lines);border-radius:8px;padding:10px 14px}
.figure b{display:block;font-size:22px;line-height:1.3;font-weight:650;font-variant-numeric:tabular-nums}
.figure span{color:var(--muted);font-size:13.5px;line-height:1.35;display:block}
.scroll{overflow-x:auto;margin:12px 0}
table{border-collapse:collapse;font-size:13.5px;font-variant-numeric:tabular-nums}
th,td{padding:4px 14px 4px 0;text-align:left;border-bottom:1px solid var(--lines);white-space:nowrap}
td:first-child{white-space:normal;min-width:5em}
th{color:var(--muted);font-weight:500}
.number{text-align:right}
tr:last-child td{border-bottom:0}
svg.plot{display:block;width:100%;height:auto}
.narrow{display:none}
@media (max-width:640px){main{padding:20px 16px 48px}h1{font-size:21px}.wide{display:none}
.narrow{display:block;max-width:460px}.figures{grid-template-columns:1fr 1fr;gap:8px}
.figure{padding:8px 10px}.figure b{font-size:18px}}
@media print{.scroll{overflow:visible}}
";

fn head(report: &Report) -> String {
    let verdict = if report.invalid.is_empty() {
        "<p class=\"verdict good\">✓ valid</p>\n".to_owned()
    } else {
        let reasons = report.invalid.iter().map(|why| format!("<p>{}</p>\n", prose(why)));
        let reasons = reasons.collect::<String>();
        format!(
            "<p class=\"verdict bad\">✗ not valid</p>\n<div class=\"why\">\n<p><b>These figures must not be \
             used.</b></p>\n{reasons}</div>\n"
        )
    };
    let failed = report.judgements.iter().filter(|one| !one.held).count();
    let verdict = match (failed, report.judgements.len()) {
        (0, _) => verdict,
        (failed, all) => {
            format!("<p class=\"verdict bad\">✗ {failed} of {all} expectations failed</p>\n{verdict}")
        }
    };
    let machine = &report.machine;
    let memory = units::bytes(machine.memory_bytes as f64);
    let machine = [
        machine.processor.clone(),
        if machine.cpus > 0 { format!("{} CPUs", machine.cpus) } else { String::new() },
        if machine.memory_bytes > 0 { memory } else { String::new() },
        machine.kernel.clone(),
        report.began.clone(),
    ];
    let told = machine.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ");
    let command = match report.command.as_str() {
        "" => String::new(),
        command => format!("<code class=\"command\">{}</code>\n", escape(command)),
    };
    format!(
        "<h1>{}</h1>\n<p class=\"target\">{}</p>\n<p class=\"about\">{}</p>\n{verdict}{command}",
        title_of(report.mode),
        escape(&report.target),
        prose(&told)
    )
}

fn title_of(mode: &str) -> &str {
    match mode {
        "closed" => "As fast as it answers",
        "open" => "A steady load",
        "sweep" => "Load, step by step",
        "hold" => "Held connections",
        "churn" => "Connections that come and go",
        "slow" => "Beside slow clients",
        "compare" => "Servers compared",
        _ => "Load test",
    }
}

/// Escaped, with numbers that no line end tears apart.
fn prose(text: &str) -> String {
    let mut before = ' ';
    let escaped = escape(text);
    let mut letters = escaped.chars().peekable();
    let mut out = String::with_capacity(escaped.len());
    while let Some(c) = letters.next() {
        let is_inner = letters.peek().is_some_and(|next| next.is_ascii_digit() || *next == '%');
        out.push(if c == ' ' && before.is_ascii_digit() && is_inner { '\u{a0}' } else { c });
        before = c;
    }
    out
}

/// What is worth being read from afar.
fn figures(report: &Report) -> String {
    let mut figures: Vec<(String, String)> = Vec::new();
    let mut add = |value: String, label: &str| figures.push((value, label.to_owned()));
    for fact in &report.facts {
        add(units::told(fact.value, fact.unit), fact.label);
    }
    if let ([load], []) = (report.loads.as_slice(), report.steps.as_slice()) {
        let at = |share: f64| units::nanoseconds(load.latency.quantile(share) as f64);
        add(units::rate(load.rate), "answers a second");
        if load.latency.count() > 0 {
            for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
                add(at(share), name);
            }
        }
        add(units::count(load.errors_total()), "errors");
    }
    let slopes = slopes(report);
    for (slope, label) in [
        (slopes.server, "of the server's memory for a connection"),
        (slopes.kernel, "of the kernel's slabs for a connection"),
    ] {
        slope.into_iter().for_each(|slope| add(units::bytes(slope.bytes_per_connection), label));
    }
    if figures.is_empty() {
        return String::new();
    }
    let tell = |(value, label): &(String, String)| {
        format!("<div class=\"figure\"><b>{}</b><span>{}</span></div>\n", escape(value), escape(label))
    };
    // Rows as even as they can be.
    let columns = match figures.len() {
        few @ ..=5 => few.max(3),
        6 | 9 => 3,
        _ => 4,
    };
    let figures = figures.iter().map(tell).collect::<String>();
    format!("<div class=\"figures of-{columns}\">\n{figures}</div>\n")
}

fn judgements(report: &Report) -> String {
    if report.judgements.is_empty() {
        return String::new();
    }
    let row = |one: &super::expect::Judgement| {
        let (class, held) = if one.held { ("good", "✓ held") } else { ("bad", "✗ failed") };
        let of = if one.of.is_empty() { String::new() } else { format!(" ({})", one.of) };
        let measured = escape(&format!("{}{of}", one.told));
        let expectation = escape(&one.expectation);
        format!(
            "<tr><td><code>{expectation}</code></td><td class=\"{class}\">{held}</td>\
             <td>{measured}</td></tr>\n"
        )
    };
    let rows = report.judgements.iter().map(row).collect::<String>();
    format!(
        "<h2>Expected</h2>\n<div class=\"scroll\"><table>\n\
         <tr><th>expectation</th><th></th><th>measured</th></tr>\n{rows}</table></div>\n"
    )
}

fn remarks(report: &Report) -> String {
    let failed = report.loads.iter().filter(|load| load.errors_total() > 0);
    let failed = failed.map(|load| format!("Errors of {}: {}.", load.name, text::errors(load)));
    let all = failed.chain(report.remarks.iter().cloned());
    all.map(|remark| format!("<p class=\"note\">{}</p>\n", prose(&remark))).collect()
}

/// Plots, each with the tables that say the same in figures.
fn sections(report: &Report) -> String {
    let plots = plot::all(report);
    let has = |name: &str| plots.iter().any(|plot| plot.name == name);
    let beside = |name: &str| beside(name, report, has("throughput-load"));
    let mut out = String::new();
    // Steps and servers that there is no plot of still have their figures.
    for (name, title) in [("memory-connections", "Held connections"), ("ratio-rate", "Compared")] {
        if !has(name) {
            out += &titled(title, &beside(name));
        }
    }
    for plot in &plots {
        out += &section(plot, &beside(plot.name));
    }
    if !has("latency-percentiles") {
        out += &titled("Loads", &beside("latency-percentiles"));
    }
    out
}

fn titled(title: &str, tables: &str) -> String {
    if tables.is_empty() {
        String::new()
    } else {
        format!("<section>\n<h2>{title}</h2>\n{tables}</section>\n")
    }
}

fn section(plot: &Plot, tables: &str) -> String {
    format!(
        "<section>\n<h2>{}</h2>\n<p class=\"about\">{}</p>\n<div class=\"wide\">{}</div>\n\
         <div class=\"narrow\">{}</div>\n{tables}</section>\n",
        escape(plot.title),
        prose(&plot.about),
        plot.wide.inline(plot.title),
        plot.narrow.inline(plot.title),
    )
}

/// The tables that stand below a plot.
fn beside(plot: &str, report: &Report, is_sweep: bool) -> String {
    match plot {
        "memory-connections" => {
            [tables::steps(report, Room::Page), tables::memory(report), tables::scraped(report)]
                .iter()
                .map(table)
                .collect()
        }
        "ratio-rate" => {
            let cases = report.comparison.iter().flat_map(|comparison| &comparison.cases);
            let told = cases.map(|case| {
                let title = format!("{}, {} blocks", case.name, case.blocks);
                format!("<h3>{}</h3>\n{}", prose(&title), table(&tables::case(case, Room::Page)))
            });
            told.collect()
        }
        "throughput-load" => table(&tables::rates(report)),
        // A sweep has had the first of these.
        "latency-percentiles" if is_sweep => table(&tables::latencies(report)),
        "latency-percentiles" => table(&tables::rates(report)) + &table(&tables::latencies(report)),
        _ => String::new(),
    }
}

fn table(table: &Table) -> String {
    if table.is_empty() {
        return String::new();
    }
    let row = |tag: &str, cells: &mut dyn Iterator<Item = &String>| {
        let cell = |(cell, column): (&String, &super::table::Column)| {
            let class = if column.is_figure { " class=\"number\"" } else { "" };
            format!("<{tag}{class}>{}</{tag}>", escape(cell))
        };
        format!("<tr>{}</tr>\n", cells.zip(&table.columns).map(cell).collect::<String>())
    };
    let head = row("th", &mut table.columns.iter().map(|column| &column.title));
    let rows = table.rows.iter().map(|cells| row("td", &mut cells.iter())).collect::<String>();
    format!("<div class=\"scroll\"><table>\n{head}{rows}</table></div>\n")
}

/// How the figures came about.
fn method(report: &Report) -> String {
    let mut lines = Vec::new();
    if !report.checked.is_empty() {
        lines.push(format!("Every answer that counts was checked: {}.", report.checked));
    }
    if report.loads.iter().any(|load| load.rate_wanted.is_some()) {
        lines.push(
            "Latency is from the intended start of each request, so a server that stalls cannot hide it; \
             lag is how late the generator itself was."
                .to_owned(),
        );
    }
    if let Some(comparison) = &report.comparison {
        lines.push(format!(
            "Blocks in random order, seed {}; ratios are medians over the blocks with their 95 % confidence \
             intervals.",
            comparison.seed
        ));
    }
    if lines.is_empty() {
        return String::new();
    }
    let lines = lines.iter().map(|line| format!("<p class=\"muted\">{}</p>\n", prose(line)));
    format!("<h2>Method</h2>\n{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn parsed(page: &str) -> roxmltree::Document<'_> {
        let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
        roxmltree::Document::parse_with_options(page, options).unwrap()
    }

    #[test]
    fn every_page_is_well_formed_and_needs_no_network() {
        for (name, report) in samples::all() {
            let page = page(&report);
            let document = parsed(&page);
            assert_eq!(document.root_element().tag_name().name(), "html", "{name}");
            let loads = document.descendants().any(|node| {
                ["script", "link", "img", "iframe"].contains(&node.tag_name().name())
                    || node.attributes().any(|one| ["src", "href"].contains(&one.name()))
            });
            assert!(!loads && !page.contains("url(") && !page.contains("@import"), "{name}");
            assert!(!page.contains("NaN"), "{name}");
        }
    }

    #[test]
    fn what_came_from_outside_is_text() {
        let report = samples::closed_bad();
        let page = page(&report);
        assert!(!page.contains("<script") && !page.contains("<b>\"&"));
        let document = parsed(&page);
        let title = document.descendants().find(|node| node.attribute("class") == Some("target"));
        assert_eq!(title.unwrap().text().unwrap(), report.target);
        let command = document.descendants().find(|node| node.has_tag_name("code")).unwrap();
        assert_eq!(command.text().unwrap(), report.command);
    }

    #[test]
    fn whether_it_counts_stands_above_all_figures() {
        let bad = page(&samples::closed_bad());
        let (verdict, figures) = (bad.find("not valid").unwrap(), bad.find("class=\"figure\"").unwrap());
        assert!(verdict < figures && bad.contains("62\u{a0}732 of 158\u{a0}132 requests failed"));
        assert!(page(&samples::closed()).contains("✓ valid"));
    }

    #[test]
    fn tables_have_what_the_plots_show() {
        let page = page(&samples::hold());
        for part in [
            "1 of 4 expectations failed",
            "61.4 B",
            "Memory over connections",
            "1 000 000",
            "myriapod_connections_open",
            "✗ failed",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert!(super::page(&samples::hold_one()).contains("Held connections"));
    }
}
