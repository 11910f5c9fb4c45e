//! What a connection showed at the door, where it was asked for something.
//!
//! Most connections of an open broker show nothing, and then there is nothing here.

use super::metering::Metered;
use super::seating::Seat;
use crate::auth::Access;
use crate::broker::PeerAddr;
use crate::ws::DataKind;
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
    /// How it stands to the home of that address.
    pub(crate) seat: Seat,
    /// A complete head that waits until that is known.
    pub(crate) head: Option<Box<[u8]>>,
    /// What its messages are paid from, where there are rates.
    pub(crate) metered: Option<Box<Metered>>,
    /// A message of a raw member that waits to be paid for.
    pub(crate) held: Option<Box<(DataKind, Vec<u8>)>>,
    /// The tick of the wheel until which it is not read.
    pub(crate) rests_until: Option<u32>,
    /// It was told that its token is about to end.
    pub(crate) warned: bool,
}
