//! Rooms and their words: names, payloads, commands, policies, and the state of one room.
//!
//! Not here: frames, HTTP, encodings of any wire (`protocol`), where a room lives and who is told
//! (`engine`). Invariants: a [`RoomName`] is valid by existing; `seq` is contiguous from 1 within
//! an epoch; a [`Disconnect`] says why, and each protocol says with which close code.
#![deny(clippy::indexing_slicing)]

mod by_id;
mod command;
mod dedupe;
mod disconnect;
mod error_code;
mod gap;
mod history;
mod ids;
mod json;
mod name;
mod now;
mod payload;
mod peer_addr;
mod policy;
mod position;
mod presence;
mod room;
mod sessions;
mod status;
mod user;
mod users;

pub use command::{Command, CommandError};
pub use dedupe::{Dedupe, Evicted};
pub use disconnect::Disconnect;
pub use error_code::ErrorCode;
pub use gap::{Gap, GapReason};
pub use history::{History, Kept, Piece, Reading, recover};
pub use ids::{ConnKey, LoopId, RoomHandle};
pub use json::check_json;
pub use name::{BadRoomName, RoomName};
pub use now::Now;
pub use payload::{Deflate, Encoding, Form, PayloadKind};
pub use peer_addr::{AddressKey, PeerAddr};
pub use policy::{
    BadPattern, BatchOptions, Compression, HistoryOptions, MayCreate, Overflow, PresenceMode,
    PresenceOptions, RawDrops, RoomOptions, RoomPattern, RoomPolicies,
};
pub use position::{EpochText, Position, Unrecoverable};
pub use presence::{Change, Departure, Diff, Presence, Present};
pub use room::{LoopMembers, Published, Room};
pub use sessions::{Parked, ParkedRoom, Parking, SessionId, Sessions, Taken};
pub use status::{ReceiptStatus, Status};
pub use user::{BadUser, Role, User};
pub use users::{Online, Users};
