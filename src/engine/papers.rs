//! What a connection showed at the door, where it was asked for something.
//!
//! Most connections of an open broker show nothing, and then there is nothing here.

use crate::auth::Access;
use crate::broker::PeerAddr;
use std::sync::Arc;

/// Who a connection is and where it comes from.
#[derive(Debug, Default)]
pub(crate) struct Papers {
    /// What it was let in with; none for guests in raw rooms and on `/echo`.
    pub(crate) access: Option<Arc<Access>>,
    /// Its user as the JSON that goes into each message, where it is in a raw room.
    pub(crate) sender: Option<Arc<[u8]>>,
    /// Its client's address, where that matters.
    pub(crate) address: Option<PeerAddr>,
    /// It was told that its token is about to end.
    pub(crate) warned: bool,
}
