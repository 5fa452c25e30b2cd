//! The report for scripts. Names and meanings stay; more may come.

use serde_json::{Value, json};

use crate::server::budget::Tables;

use super::Report;
use super::check::Check;

/// One object, over several lines.
pub fn json(report: &Report) -> String {
    let checks: Vec<Value> = report.checks.iter().map(check).collect();
    let tables = match report.tables {
        Tables::Private => "private",
        Tables::Shared => "shared",
    };
    let object = json!({
        "connections_asked": report.asked,
        "connections_possible": report.possible,
        "fits": report.fits(),
        "first_limit": report.first_limit,
        "reactors": report.reactors,
        "descriptor_tables": tables,
        "with_client": report.with_client,
        "checks": checks,
    });
    format!("{object:#}\n")
}

fn check(check: &Check) -> Value {
    let sysctl = check.sysctl.as_ref();
    let remedies = check.remedies.iter();
    json!({
        "name": check.name,
        "unit": check.unit.as_str(),
        "here": check.here,
        "wanted": check.wanted,
        "holds": check.holds,
        "verdict": check.verdict.as_str(),
        "why": check.why,
        "sysctl": sysctl.map(|sysctl| json!({ "key": sysctl.key, "from": sysctl.from, "to": sysctl.to })),
        "remedies": remedies
            .map(|remedy| json!({ "place": remedy.place, "command": remedy.command }))
            .collect::<Vec<_>>(),
    })
}
