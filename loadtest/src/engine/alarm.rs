//! A timer finer than the poll's millisecond: a schedule of a thousand a second would slip half of one each.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// Rings once, by an event of the poll. Setting it anew forgets an earlier ring, so it is never read.
#[derive(Debug)]
pub struct Alarm {
    timer: OwnedFd,
    /// What it is set to, by the run's clock: a schedule that did not move costs no system call.
    set_to_ns: u64,
}

impl Alarm {
    /// A silent one.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Alarm> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Alarm { timer, set_to_ns: 0 })
    }

    /// Rings at `at_ns` of the clock that now shows `now_ns`.
    ///
    /// # Errors
    /// What the system says.
    pub fn set(&mut self, at_ns: u64, now_ns: u64) -> io::Result<()> {
        if self.set_to_ns == at_ns {
            return Ok(());
        }
        self.set_to_ns = at_ns;
        // Nought would switch it off.
        let after = Duration::from_nanos(at_ns.saturating_sub(now_ns).max(1));
        let it_value = Timespec { tv_sec: after.as_secs() as _, tv_nsec: after.subsec_nanos().into() };
        let once = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(
            &self.timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: once, it_value },
        )?;
        Ok(())
    }
}
