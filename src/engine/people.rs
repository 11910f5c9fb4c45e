//! Requests that are about users and not about one room.

use super::asking::plain_error;
use super::native::{Go, Native};
use super::shard::Shard;
use crate::broker::{ConnKey, ErrorCode, Now, ReceiptStatus, RoomHandle, User};
use crate::protocol::json::{Ask, RequestId};

impl Shard {
    pub(super) fn handle_people(
        &mut self,
        key: ConnKey,
        _native: &mut Native,
        id: Option<RequestId<'_>>,
        _ask: Ask<'_>,
        _now: Now,
    ) -> Go {
        self.answer_error(key, &plain_error(ErrorCode::Unavailable, "not yet", id));
        Go::On
    }

    pub(super) fn relay_receipt(
        &mut self,
        _room: RoomHandle,
        _receipt: (u64, ReceiptStatus),
        _user: &User,
        _now: Now,
    ) {
    }
}
