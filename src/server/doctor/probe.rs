//! What no file tells and only trying does: on this host, and without leaving a trace.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;

use crate::reactor::descriptors;
use crate::server::host::Host;

use super::machine::{Conntrack, Machine};
use super::read;

/// This host.
pub fn here() -> Machine {
    let root = Path::new("/");
    let machine = read::machine(root);
    Machine {
        host: Host::measure(),
        has_private_tables: descriptors::can_be_private(),
        conntrack: machine.conntrack.map(|tracking| Conntrack { moves: is_tracked(root), ..tracking }),
        ..machine
    }
}

/// Whether the kernel begins to track a connection over loopback. Somebody else's may begin at the same
/// time, which shows as well that connections are tracked.
fn is_tracked(root: &Path) -> bool {
    let before = read::tracked(root);
    let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) else { return false };
    let client = listener.local_addr().and_then(TcpStream::connect);
    let after = read::tracked(root);
    drop(client);
    after > before
}
