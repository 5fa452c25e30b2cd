//! Threads, and what they run on.

use crate::config::units::grouped;
use crate::server::doctor::case::Case;
use crate::server::doctor::check::{Check, Remedy, Unit, Verdict};
use crate::server::doctor::machine::Machine;

/// Mappings of a thread: stack, guard page, what its allocator keeps apart (measured: under 5).
const MAPS_PER_THREAD: u64 = 8;
/// Mappings of a process without threads.
const MAPS_BESIDES: u64 = 256;

const MAPS: &str = "vm.max_map_count";

/// One of the limits on threads.
struct Limit {
    name: &'static str,
    here: u64,
    /// What it takes for that many more threads.
    wanted: u64,
    /// Threads it has room for.
    room: u64,
}

/// Threads that may be started besides those there are.
pub fn room(machine: &Machine) -> u64 {
    limits(machine, 0).into_iter().map(|limit| limit.room).min().unwrap_or(u64::MAX)
}

/// The narrowest of the limits on threads, without which there are no reactors.
pub fn threads(case: &Case<'_>) -> Check {
    let needed = u64::from(case.reactors) + case.other_threads();
    let mut limits = limits(case.machine, needed);
    // Mappings matter only where somebody made them scarce; elsewhere they would hide what does.
    limits.retain(|limit| limit.name != MAPS || limit.room < needed);
    let narrowest = limits.into_iter().min_by_key(|limit| limit.room);
    let Some(limit) = narrowest else { return Check::new("threads", Unit::Count, "bounds reactors") };
    let why = format!("{} threads are to be started, one for each reactor among them", grouped(needed));
    let mut check =
        Check::new(limit.name, Unit::Count, why).compared(Some(limit.here), limit.wanted, Verdict::Binds);
    if check.is_short() {
        check = check.holding(0);
    }
    let check = check.helped(|| fewer_reactors(case, limit.room).into_iter().collect());
    match limit.name {
        key @ ("kernel.threads-max" | "kernel.pid_max" | MAPS) => {
            check.set(key, [limit.here], [limit.wanted.max(limit.here)])
        }
        "ulimit -u" => check.helped(|| more_processes(limit.wanted)),
        _ => check.helped(|| more_tasks(case, limit.wanted)),
    }
}

fn limits(machine: &Machine, needed: u64) -> Vec<Limit> {
    let tasks = &machine.tasks;
    let shared = |name, max: Option<u64>| {
        max.map(|here| Limit {
            name,
            here,
            wanted: tasks.running.saturating_add(needed),
            room: here.saturating_sub(tasks.running),
        })
    };
    let user_max = tasks.user_max.filter(|_| !machine.rights.is_root);
    let user = user_max.map(|here| Limit { name: "ulimit -u", here, wanted: needed, room: here });
    let group = tasks.group.as_ref().map(|room| Limit {
        name: "pids.max of the control group",
        here: room.limit,
        wanted: room.limit.saturating_sub(room.left).saturating_add(needed),
        room: room.left,
    });
    let maps = tasks.maps_max.map(|here| Limit {
        name: MAPS,
        here,
        wanted: MAPS_BESIDES + needed * MAPS_PER_THREAD,
        room: here.saturating_sub(MAPS_BESIDES) / MAPS_PER_THREAD,
    });
    let all = [
        shared("kernel.threads-max", tasks.threads_max),
        shared("kernel.pid_max", tasks.pid_max),
        user,
        group,
        maps,
    ];
    all.into_iter().flatten().collect()
}

/// As many as there is room for, where that is any.
fn fewer_reactors(case: &Case<'_>, room: u64) -> Option<Remedy> {
    let reactors = room.checked_sub(case.other_threads()).filter(|reactors| *reactors > 0)?;
    Some(Remedy::anybody(format!("myriapod --reactors {reactors}")))
}

fn more_processes(wanted: u64) -> Vec<Remedy> {
    vec![
        Remedy::as_root(format!("prlimit --pid $$ --nproc={wanted}:{wanted}")),
        Remedy::systemd(format!("LimitNPROC={wanted}")),
    ]
}

fn more_tasks(case: &Case<'_>, wanted: u64) -> Vec<Remedy> {
    let file = case.machine.tasks.group.as_ref().map(|room| room.file.display().to_string());
    let echo = file.map(|file| Remedy::as_root(format!("echo {wanted} > {file}")));
    let others = [
        Remedy::systemd(format!("TasksMax={wanted}")),
        Remedy::docker(format!("docker run --pids-limit {wanted}")),
    ];
    echo.into_iter().chain(others).collect()
}

/// What the reactors run on.
pub fn cpus(case: &Case<'_>) -> Check {
    let (cpus, reactors) = (case.host.cpus, case.reactors);
    let why = match reactors > cpus {
        true => format!("{reactors} reactors take turns on them; a higher descriptor limit needs fewer"),
        false => String::from("a reactor has one for itself"),
    };
    let mut check = Check::new("CPUs", Unit::Count, why);
    check.here = Some(u64::from(cpus));
    check.verdict = Verdict::Ok;
    check
}
