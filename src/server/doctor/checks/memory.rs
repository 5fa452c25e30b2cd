//! Memory of idle connections, ours and the kernel's.

use crate::config::units::grouped;
use crate::server::budget::{
    BUSY_EXTRA_BYTES, IDLE_BYTES, IDLE_KERNEL_BYTES, IDLE_MEMORY_PART, connections_by_memory,
};
use crate::server::doctor::case::Case;
use crate::server::doctor::check::{Check, Remedy, Unit, Verdict};
use crate::server::host::Room;

/// What the machine, or the control group when that is less, has available.
pub fn memory(case: &Case<'_>) -> Check {
    let available = case.host.memory_available_bytes;
    let idle = case.asked * case.idle_bytes();
    // The server would not give more than this part to idle connections by itself.
    let wanted = idle * IDLE_MEMORY_PART;
    let group = case.machine.memory_group.as_ref().filter(|room| room.left <= available);
    let name = match group {
        Some(_) => "memory of the control group",
        None => "memory",
    };
    let mut check = Check::new(name, Unit::Bytes, why(case, available.saturating_sub(idle)))
        .holding(connections_by_memory(available / case.ends()))
        .bounding(available, wanted, case.asked);
    check.wanted = Some(wanted);
    if check.verdict == Verdict::Ok && available < wanted {
        check.verdict = Verdict::Slows;
    }
    check.helped(|| group.map_or_else(Vec::new, |room| widen(room, wanted.saturating_sub(available))))
}

fn why(case: &Case<'_>, left: u64) -> String {
    let per_busy = u64::from(case.config.fixed.buffer_bytes) + BUSY_EXTRA_BYTES;
    let ends = match case.with_client {
        true => ", and a client on this machine as much",
        false => "",
    };
    let busy = match left {
        0 => String::from("nothing is left for busy ones"),
        left => {
            let count = grouped((left / per_busy).min(case.asked));
            format!("what is left is enough for {count} of them to be busy at once")
        }
    };
    format!(
        "an idle connection takes {IDLE_BYTES} B of the server and {IDLE_KERNEL_BYTES} B of the kernel{ends}; {busy}"
    )
}

fn widen(room: &Room, lacking: u64) -> Vec<Remedy> {
    const MIB: u64 = 1 << 20;
    let mib = room.limit.saturating_add(lacking).div_ceil(MIB);
    vec![
        Remedy::as_root(format!("echo {} > {}", mib.saturating_mul(MIB), room.file.display())),
        Remedy::systemd(format!("MemoryMax={mib}M")),
        Remedy::docker(format!("docker run --memory {mib}m")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_widened_by_what_lacks_in_whole_mebibytes() {
        let room = Room { left: 10, limit: 1 << 30, file: "/sys/fs/cgroup/a/memory.max".into() };
        let commands: Vec<String> = widen(&room, 1).into_iter().map(|remedy| remedy.command).collect();
        assert_eq!(
            commands,
            ["echo 1074790400 > /sys/fs/cgroup/a/memory.max", "MemoryMax=1025M", "docker run --memory 1025m"]
        );
    }
}
