//! What requests are answered by from one reload to the next.
//!
//! Every reactor has its own, so that a request which outlives a reload holds on to what it was decided by
//! without a reference count that other reactors write to.

use std::sync::Arc;

use crate::gateway::Gateway;

/// See the module.
pub(super) struct Epoch {
    gateways: Arc<[Gateway]>,
}

impl Epoch {
    pub(super) fn new(gateways: Arc<[Gateway]>) -> Arc<Epoch> {
        Arc::new(Epoch { gateways })
    }

    /// What answers those who came by that kind of listener.
    #[inline]
    pub(super) fn gateway(&self, entrance: u8) -> &Gateway {
        &self.gateways[usize::from(entrance)]
    }
}
