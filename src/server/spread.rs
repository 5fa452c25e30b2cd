//! How new connections find their reactor: what was asked for, and what the kernel lets us do.
//!
//! `--accept auto` takes what there is and says so; `least` starts with what it says or not at all. Where
//! every listener has one reactor there is nothing to choose, so the kernel is not asked.
//! How it is done is in [`balance`].

use std::fmt;
use std::fs;
use std::sync::Arc;

use crate::config::{Accept, Config, Listen};
use crate::observe::log::{Level, Log};
use crate::reactor::balance::{self, Balance, Refused};

use super::start_error::{StartError, program};

/// What is in force.
#[derive(Debug)]
pub enum Spread {
    /// Every listener has one reactor, which takes all its clients.
    Single,
    /// To the reactor with the fewest.
    Least(Arc<Balance>),
    /// By the kernel's hash: as asked for, or because it refused better.
    Hash(Option<Obstacle>),
}

/// Why the kernel is not asked to find the reactor with the fewest.
#[derive(Debug)]
pub enum Obstacle {
    /// The process lacks the right.
    NoRight,
    /// It has the right and is refused all the same.
    Forbidden,
    /// The kernel does not know how.
    Unknown(Refused),
    /// Something else.
    Other(Refused),
}

/// Bits of `CapEff` that allow it.
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

impl Spread {
    /// Sees to it that clients find their reactors as the settings want it.
    ///
    /// # Errors
    /// When they want what the kernel refuses.
    pub fn arrange(config: &Config, reactors: u32) -> Result<Spread, StartError> {
        let addresses = addresses(config);
        if reactors == 1 || addresses == 0 {
            return Ok(Spread::Single);
        }
        if config.fixed.accept == Accept::Hash {
            return Ok(Spread::Hash(None));
        }
        match Balance::new(reactors, addresses).map_err(Obstacle::of) {
            Ok(balance) => Ok(Spread::Least(Arc::new(balance))),
            Err(obstacle) if config.fixed.accept == Accept::Auto => Ok(Spread::Hash(Some(obstacle))),
            Err(obstacle) => Err(StartError::Accept(obstacle)),
        }
    }

    /// For a metric's label.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Spread::Single => "single",
            Spread::Least(_) => "least",
            Spread::Hash(_) => "hash",
        }
    }

    /// Why it is not better; empty if it is as good or was asked for.
    #[must_use]
    pub fn why(&self) -> String {
        match self {
            Spread::Hash(Some(obstacle)) => obstacle.to_string(),
            Spread::Hash(None) => String::from("asked for"),
            Spread::Single | Spread::Least(_) => String::new(),
        }
    }

    /// Tells the log what the banner has no room for.
    pub(super) fn tell(&self, log: &Log) {
        if let Spread::Hash(Some(obstacle)) = self {
            log.event(Level::Info, "accept", format_args!("{self}; {}", obstacle.fix()));
        }
    }

    pub(super) fn balance(&self) -> Option<&Arc<Balance>> {
        match self {
            Spread::Least(balance) => Some(balance),
            Spread::Single | Spread::Hash(_) => None,
        }
    }
}

/// TCP addresses, over whose listeners the kernel spreads clients.
fn addresses(config: &Config) -> u32 {
    config.fixed.listen.iter().filter(|listen| matches!(listen, Listen::Tcp(_))).count() as u32
}

/// Descriptors that it may take in each table.
pub(super) fn descriptors(config: &Config, reactors: u32) -> u32 {
    match addresses(config) {
        0 => 0,
        _ if reactors == 1 || config.fixed.accept == Accept::Hash => 0,
        addresses => balance::DESCRIPTORS + addresses,
    }
}

/// In half a line, for the banner.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spread::Single => f.write_str("each listener has one reactor"),
            Spread::Least(_) => f.write_str("a new client goes to the one with the fewest"),
            Spread::Hash(None) => f.write_str("a new client goes by the kernel's hash"),
            Spread::Hash(Some(obstacle)) => {
                write!(f, "a new client goes by the kernel's hash (least: {obstacle})")
            }
        }
    }
}

impl Obstacle {
    fn of(refused: Refused) -> Obstacle {
        match refused.error.raw_os_error() {
            Some(libc::EPERM) if has_right() => Obstacle::Forbidden,
            Some(libc::EPERM) => Obstacle::NoRight,
            Some(libc::ENOSYS | libc::EINVAL) => Obstacle::Unknown(refused),
            _ => Obstacle::Other(refused),
        }
    }

    /// What to do about it.
    pub(super) fn fix(&self) -> String {
        match self {
            Obstacle::NoRight => {
                let program = program();
                format!(
                    "grant it: sudo setcap cap_bpf=+ep {program} (systemd: AmbientCapabilities=CAP_BPF; containers: \
                     --cap-add BPF)"
                )
            }
            Obstacle::Forbidden => String::from(
                "allow bpf(2) in the container's seccomp profile, outside of user namespaces, and before Linux 5.11 with \
                 ulimit -l unlimited",
            ),
            Obstacle::Unknown(_) | Obstacle::Other(_) => {
                String::from("it takes Linux 5.8 or later, built with CONFIG_BPF_SYSCALL")
            }
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::NoRight => f.write_str("needs CAP_BPF"),
            Obstacle::Forbidden => f.write_str("bpf(2) is forbidden here, in spite of CAP_BPF"),
            Obstacle::Unknown(Refused { attempt, error }) => {
                write!(f, "this kernel cannot {attempt} ({error})")
            }
            Obstacle::Other(Refused { attempt, error }) => write!(f, "cannot {attempt}: {error}"),
        }
    }
}

/// Whether this process has a capability that allows it; whether that is enough, only the kernel knows.
fn has_right() -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
    bits & (1 << CAP_BPF | 1 << CAP_SYS_ADMIN) != 0
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn obstacle(code: i32) -> Obstacle {
        Obstacle::of(Refused { attempt: "load a program", error: io::Error::from_raw_os_error(code) })
    }

    fn asking(accept: Accept, listen: &[Listen]) -> Config {
        let mut config = Config::default();
        (config.fixed.accept, config.fixed.listen) = (accept, listen.to_vec());
        config
    }

    #[test]
    fn where_there_is_no_choice_none_is_made() {
        let tcp = Listen::Tcp(([127, 0, 0, 1], 1).into());
        for (reactors, listen) in [(1, tcp.clone()), (4, Listen::Unix("a".into()))] {
            let config = asking(Accept::Least, &[listen]);
            assert!(matches!(Spread::arrange(&config, reactors), Ok(Spread::Single)));
            assert_eq!(descriptors(&config, reactors), 0);
        }
        let config = asking(Accept::Hash, std::slice::from_ref(&tcp));
        assert!(matches!(Spread::arrange(&config, 4), Ok(Spread::Hash(None))));
        assert_eq!(descriptors(&config, 4), 0);
        let config = asking(Accept::Auto, &[tcp.clone(), Listen::Unix("a".into()), tcp]);
        assert_eq!(descriptors(&config, 4), 4);
    }

    #[test]
    fn each_obstacle_is_named_with_its_fix() {
        let told = |obstacle| StartError::Accept(obstacle).to_string();
        let none = told(Obstacle::NoRight);
        assert!(
            none.starts_with("--accept least: needs CAP_BPF; grant it: sudo setcap cap_bpf=+ep /"),
            "{none}"
        );
        assert!(none.ends_with(", or write --accept hash"), "{none}");
        assert!(told(Obstacle::Forbidden).contains("seccomp"), "{}", told(Obstacle::Forbidden));
        for code in [libc::ENOSYS, libc::EINVAL, libc::E2BIG] {
            let told = told(obstacle(code));
            assert!(told.contains("load a program") && told.contains("Linux 5.8"), "{told}");
        }
        let spread = Spread::Hash(Some(Obstacle::NoRight));
        assert_eq!(spread.to_string(), "a new client goes by the kernel's hash (least: needs CAP_BPF)");
        assert_eq!((spread.name(), spread.why().as_str()), ("hash", "needs CAP_BPF"));
    }

    #[test]
    fn a_right_that_is_not_enough_is_told_from_none() {
        let expected = has_right();
        assert_eq!(matches!(obstacle(libc::EPERM), Obstacle::Forbidden), expected);
        assert_eq!(matches!(obstacle(libc::EPERM), Obstacle::NoRight), !expected);
    }
}
