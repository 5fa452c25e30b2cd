//! What the kernel lets this process do.

use crate::server::doctor::case::Case;
use crate::server::doctor::check::{Check, Remedy, Unit, Verdict};

const NAME: &str = "bpf program for --accept least";

/// Whether a program that balances connections between reactors may be loaded.
pub fn bpf(case: &Case<'_>) -> Check {
    let Some(disabled) = case.machine.bpf_disabled else {
        return Check::new(
            NAME,
            Unit::Count,
            "this kernel has no bpf: a hash spreads connections over reactors",
        );
    };
    let may_load = disabled == 0 || case.machine.rights.loads_bpf;
    let (verdict, why) = match may_load {
        true => (Verdict::Ok, "a program that evens out the reactors may be loaded"),
        // Lowering kernel.unprivileged_bpf_disabled would help too, and is not advised: it guards everybody.
        false => (Verdict::Slows, "without the right to load one, a hash spreads connections, unevenly"),
    };
    let mut check = Check::new(NAME, Unit::Count, why);
    check.verdict = verdict;
    check.helped(|| {
        vec![
            Remedy::as_root("setcap cap_bpf=+ep $(command -v myriapod)"),
            Remedy::systemd("AmbientCapabilities=CAP_BPF"),
            Remedy::docker("docker run --cap-add BPF"),
        ]
    })
}
