//! Descriptors: of a table, of all tables, of the machine.

use crate::config::DescriptorTable;
use crate::config::units::grouped;
use crate::server::budget::Tables;
use crate::server::doctor::case::Case;
use crate::server::doctor::check::{Check, Remedy, Unit, Verdict};

/// `RLIMIT_NOFILE`, which holds for each table.
pub fn descriptors(case: &Case<'_>) -> Check {
    let plan = case.plan();
    let limit = case.host.descriptors_hard;
    let wanted = plan.descriptors_for(case.asked, case.reactors);
    let name = match case.tables {
        Tables::Private => "descriptors per reactor",
        Tables::Shared => "descriptors",
    };
    let kept = plan.reserved(case.reactors, limit).total();
    Check::new(name, Unit::Count, format!("{}, {kept} of it kept back", whose(case)))
        .holding(plan.connections_by_descriptors(case.reactors, limit))
        .bounding(limit, wanted, case.asked)
        .helped(|| more_descriptors(case, wanted))
}

fn whose(case: &Case<'_>) -> &'static str {
    match (case.tables, case.config.fixed.descriptor_table) {
        (Tables::Private, _) => "each reactor has a table of its own, and the limit holds for each",
        (Tables::Shared, DescriptorTable::Shared) => {
            "the limit holds for all reactors together, as --fd-table shared wants it"
        }
        (Tables::Shared, _) => {
            "the limit holds for all reactors together, since private tables are forbidden here"
        }
    }
}

fn more_descriptors(case: &Case<'_>, wanted: u64) -> Vec<Remedy> {
    let mut remedies = Vec::new();
    if let Some(reactors) = case.plan().reactors_for(case.asked) {
        remedies.push(Remedy::anybody(format!("myriapod --reactors {reactors}")));
    }
    if case.machine.has_private_tables && case.tables == Tables::Shared {
        remedies.push(Remedy::anybody("myriapod --fd-table private"));
    }
    // Without the right not even root can raise a hard limit, as in most containers.
    if case.machine.rights.raises_limits || !case.machine.is_container {
        remedies.push(Remedy::as_root(format!("prlimit --pid $$ --nofile={wanted}:{wanted}")));
    }
    if !case.machine.is_container {
        remedies.push(Remedy::systemd(format!("LimitNOFILE={wanted}")));
    }
    remedies.push(Remedy::docker(format!("docker run --ulimit nofile={wanted}:{wanted}")));
    remedies
}

/// `fs.nr_open`, beyond which no limit can be raised.
pub fn nr_open(case: &Case<'_>) -> Check {
    let plan = case.plan();
    let (nr_open, wanted) = (case.host.nr_open, plan.descriptors_for(case.asked, case.reactors));
    Check::new("fs.nr_open", Unit::Count, "no descriptor limit can be raised beyond it")
        .holding(plan.connections_by_descriptors(case.reactors, nr_open))
        .bounding(nr_open, wanted, case.asked)
        .set("fs.nr_open", [nr_open], [wanted.max(nr_open)])
}

/// `fs.file-max`, which the machine's processes share. Who administers it is let through, but a server
/// should not have to.
pub fn file_max(case: &Case<'_>) -> Check {
    let files = case.machine.files;
    let ours = u64::from(case.plan().reserved(case.reactors, case.host.descriptors()).total());
    let besides = files.open.saturating_add(ours);
    let wanted = besides.saturating_add(case.asked * case.ends());
    let Some(max) = files.max else { return Check::new("fs.file-max", Unit::Count, "bounds open files") };
    let why = format!("the whole machine may have so many files open, and {} are", grouped(files.open));
    let check = match case.machine.rights.administers {
        true => {
            let why = format!("{why}; with CAP_SYS_ADMIN, as now, one may go beyond, and nobody else");
            Check::new("fs.file-max", Unit::Count, why).compared(Some(max), wanted, Verdict::Slows)
        }
        false => Check::new("fs.file-max", Unit::Count, why)
            .holding(max.saturating_sub(besides) / case.ends())
            .bounding(max, wanted, case.asked),
    };
    check.set("fs.file-max", [max], [wanted.max(max)])
}
