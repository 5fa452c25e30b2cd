//! Each new TCP connection goes to the reactor that has the fewest: chosen in the kernel, by counts that
//! reactors keep.
//!
//! The kernel's own way is a hash of the addresses, which may well put 12 of 16 connections on one of two
//! reactors. With a [`Balance`] it runs a `program` of ours instead for each packet that opens a
//! connection; the counts are in a `page` that kernel and reactors share, so keeping them costs no
//! system call. A reactor's side of it is its [`Seat`].
//!
//! Promises: who is stuck, full, out of descriptors or leaving is passed over; when the program cannot
//! decide, the hash does, so nobody is refused unless all are leaving; counts that went wrong heal (`drift`).
//! Not here: whether it is wanted, and what to tell if it cannot be had, see `server::spread`.

mod assembler;
mod drift;
mod kernel;
mod page;
mod program;

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use self::drift::Drift;
use self::kernel::Page;
use self::page::Slot;
pub(super) use self::page::Standing;
use self::program::Choice;
use crate::base::clock::Tick;

/// What all reactors of a server share. Made before any of them takes a table of descriptors of its own.
#[derive(Debug)]
pub struct Balance {
    page: Page,
    /// Their listeners, address by address; in each address reactor by reactor.
    listeners: OwnedFd,
    /// One for each address.
    programs: Vec<OwnedFd>,
    reactors: u32,
}

/// What the kernel would not do.
#[derive(Debug)]
pub struct Refused {
    /// What was tried: `make a map`.
    pub attempt: &'static str,
    /// What the kernel said.
    pub error: io::Error,
}

/// Descriptors that a balance needs, beside one for each address.
pub const DESCRIPTORS: u32 = 2;

impl Balance {
    /// Asks the kernel for all it takes to spread the clients of so many addresses over so many reactors.
    ///
    /// # Errors
    /// When the kernel does not know how, or does not allow it.
    pub fn new(reactors: u32, addresses: u32) -> Result<Balance, Refused> {
        let refused = |attempt| move |error| Refused { attempt, error };
        let (page, counts) = Page::shared(reactors).map_err(refused("make a map of counts"))?;
        let listeners =
            kernel::make_listeners(reactors * addresses).map_err(refused("make a map of listeners"))?;
        let program = |address| {
            let choice = Choice::new(reactors, address * reactors, &counts, &listeners);
            kernel::load(&program::choose(choice)).map_err(refused("load a program"))
        };
        let programs = (0..addresses).map(program).collect::<Result<_, _>>()?;
        // Whoever is chosen before it listens is not found, and the hash decides.
        (0..reactors).for_each(|number| page.slot(number).sleep());
        Ok(Balance { page, listeners, programs, reactors })
    }
}

/// One reactor's side of it: what it has taken in, and what it tells the kernel.
///
/// Invariant: the kernel takes its load for `open`, as last told, and those under way to it, except for what
/// is lost, see `drift`.
#[derive(Debug)]
pub struct Seat {
    balance: Arc<Balance>,
    number: u32,
    /// How many of those that were sent have been accepted.
    accepted: u64,
    drift: Drift,
    told: Option<(i64, Standing)>,
}

impl Seat {
    /// That reactor's.
    #[must_use]
    pub fn new(balance: &Arc<Balance>, number: u32) -> Seat {
        Seat { balance: Arc::clone(balance), number, accepted: 0, drift: Drift::new(), told: None }
    }

    /// From here on the kernel may send clients of that address to this listener, which listens already.
    pub(super) fn enter(&self, listener: RawFd, address: u32) -> io::Result<()> {
        let place = address * self.balance.reactors + self.number;
        // Each reactor attaches the program for all of the address, since none knows who is the first.
        let entered = kernel::enter_listener(&self.balance.listeners, place, listener)
            .and_then(|()| kernel::attach(&self.balance.programs[address as usize], listener));
        entered.map_err(|error| {
            let text =
                format!("the kernel does not choose among its reactors ({error}); write --accept hash");
            io::Error::new(error.kind(), text)
        })
    }

    /// One was accepted that came by a listener that was entered.
    pub(super) fn note_accepted(&mut self) {
        self.accepted += 1;
    }

    /// Tells the kernel how things stand: `open` connections, of whatever origin. `is_quiet`: nobody waits to
    /// be accepted.
    pub(super) fn tell(&mut self, open: u32, standing: Standing, is_quiet: bool, now: Tick) {
        let lost = self.drift.look(self.coming(), is_quiet, now);
        let gone = self.accepted as i64 + lost - i64::from(open);
        if self.told != Some((gone, standing)) {
            self.told = Some((gone, standing));
            self.slot().set_gone(gone, standing);
        }
    }

    /// When to [tell](Seat::tell) again even if nothing happens.
    pub(super) fn again_at(&self) -> Tick {
        self.drift.again_at()
    }

    /// It is going to wait for events, for however long.
    pub(super) fn sleep(&self) {
        self.slot().sleep();
    }

    /// A turn begins.
    pub(super) fn rise(&self, now_ns: u64) {
        self.slot().rise(now_ns);
    }

    /// How many were sent who are not here yet and not lost, as far as is known.
    pub(super) fn expected(&self) -> u64 {
        u64::try_from(self.coming() - self.drift.lost()).unwrap_or(0)
    }

    /// Whether the kernel was told of a pause.
    pub(super) fn is_paused(&self) -> bool {
        matches!(self.told, Some((_, Standing::Paused)))
    }

    /// Those that were sent and not accepted yet; less than none after the hash has sent some.
    fn coming(&self) -> i64 {
        self.slot().sent.load(Ordering::Relaxed).wrapping_sub(self.accepted) as i64
    }

    fn slot(&self) -> &Slot {
        self.balance.page.slot(self.number)
    }
}

/// Who ends, or breaks, gets no more clients.
impl Drop for Seat {
    fn drop(&mut self) {
        self.slot().set_gone(0, Standing::Left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without a kernel that would choose by it.
    fn seat() -> Seat {
        let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let (page, listeners) = (Page::private(2), null());
        let balance = Arc::new(Balance { page, listeners, programs: Vec::new(), reactors: 2 });
        Seat::new(&balance, 1)
    }

    fn send(seat: &Seat, count: u64) {
        seat.slot().sent.fetch_add(count, Ordering::Relaxed);
    }

    fn load(seat: &Seat) -> u64 {
        let slot = seat.slot();
        slot.sent.load(Ordering::Relaxed).wrapping_sub(slot.gone.load(Ordering::Relaxed))
    }

    #[test]
    fn a_connection_counts_from_its_first_packet_to_its_end() {
        let mut seat = seat();
        seat.tell(0, Standing::Open, true, Tick(0));
        send(&seat, 2);
        assert_eq!(load(&seat), 2, "before the reactor knows");
        seat.note_accepted();
        seat.tell(1, Standing::Open, true, Tick(1));
        assert_eq!(load(&seat), 2, "one is still to come");
        seat.note_accepted();
        seat.tell(2, Standing::Open, true, Tick(2));
        seat.tell(0, Standing::Open, true, Tick(3));
        assert_eq!(load(&seat), 0);
    }

    #[test]
    fn who_came_another_way_counts_too() {
        let mut seat = seat();
        // By a unix socket.
        seat.tell(3, Standing::Open, true, Tick(0));
        assert_eq!(load(&seat), 3);
        // By the hash.
        seat.note_accepted();
        seat.tell(4, Standing::Open, true, Tick(1));
        assert_eq!(load(&seat), 4);
    }

    #[test]
    fn a_pause_and_an_end_are_seen_from_afar() {
        let mut seat = seat();
        for standing in [Standing::Open, Standing::Paused, Standing::Open, Standing::Left] {
            seat.tell(5, standing, false, Tick(0));
            assert_eq!(load(&seat), 5 + standing.weight());
        }
    }

    #[test]
    fn who_breaks_gets_no_more_clients() {
        let mut seat = seat();
        send(&seat, 7);
        seat.tell(7, Standing::Open, true, Tick(0));
        let balance = Arc::clone(&seat.balance);
        drop(seat);
        let again = Seat::new(&balance, 1);
        assert!(load(&again) >= Standing::Left.weight());
    }

    /// Where the kernel lets us: its verifier has the last word about the program.
    #[test]
    fn the_kernel_takes_the_program() {
        for reactors in [2, 53, 1_024] {
            match Balance::new(reactors, 2) {
                Ok(_) => {}
                Err(Refused { error, .. }) if error.raw_os_error() == Some(libc::EPERM) => {
                    return eprintln!("not tried: {error}");
                }
                Err(refused) => panic!("{refused:?}"),
            }
        }
    }
}
