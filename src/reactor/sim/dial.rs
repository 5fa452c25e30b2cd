//! Connections that the floor begins: somebody else answers them, or nobody does.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use crate::gateway::upstream::Place;
use crate::reactor::lines::Dialer;
use crate::reactor::sim::wire::{Socket, Wire};

/// A connection that was begun, and to where.
pub(super) struct Call {
    /// The last part of the server's address.
    pub server: u8,
    pub wire: Rc<RefCell<Wire>>,
}

/// What the floor's dialer and whoever answers share.
#[derive(Default)]
pub(super) struct Switchboard {
    pub calls: VecDeque<Call>,
    /// What the kernel says instead, the next time.
    pub refusals: VecDeque<i32>,
}

/// See the module.
pub(super) struct Operator {
    pub board: Rc<RefCell<Switchboard>>,
    /// Makes the wires.
    pub lay: Box<dyn FnMut() -> Wire>,
}

impl Dialer<Socket> for Operator {
    fn dial(&mut self, place: &Place, slot: u32, generation: u32) -> io::Result<Socket> {
        let mut board = self.board.borrow_mut();
        if let Some(code) = board.refusals.pop_front() {
            return Err(io::Error::from_raw_os_error(code));
        }
        let server = match place {
            Place::Socket(address) => match address.ip() {
                IpAddr::V4(ip) => ip.octets()[3],
                IpAddr::V6(_) => unreachable!("servers here have short addresses"),
            },
            Place::Unix(_) => unreachable!("no files here"),
        };
        let wire = Rc::new(RefCell::new((self.lay)().dialled(slot, generation)));
        board.calls.push_back(Call { server, wire: Rc::clone(&wire) });
        Ok(Socket(wire))
    }
}
