//! What the poll tells, in the words of the floor.

use std::io;
use std::os::fd::AsRawFd;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry};

use crate::base::slots::Key;
use crate::reactor::client::Client;
use crate::reactor::floor::{Edge, Watcher};
use crate::reactor::stream::Socket;
use crate::reactor::token::Source;

/// What an event says of its stream.
#[inline]
pub(super) fn edge_of(event: &Event) -> Edge {
    Edge {
        readable: event.is_readable(),
        writable: event.is_writable(),
        ending: event.is_read_closed() || event.is_error(),
        broken: event.is_error() || (event.is_read_closed() && event.is_write_closed()),
    }
}

impl Watcher<Socket> for Registry {
    fn watch(
        &self,
        stream: &Socket,
        key: Key<Client<Socket>>,
        for_writing: bool,
        again: bool,
    ) -> io::Result<()> {
        let interest = if for_writing { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let (fd, token) = (stream.as_raw_fd(), Source::Client(key).token());
        match again {
            false => self.register(&mut SourceFd(&fd), token, interest),
            true => self.reregister(&mut SourceFd(&fd), token, interest),
        }
    }
}
