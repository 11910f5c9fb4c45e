//! Rooms and their words: names, payloads, commands, policies, and the state of one room.
//!
//! Not here: frames, HTTP, encodings of any wire (`protocol`), where a room lives and who is told
//! (`engine`). Invariants: a [`RoomName`] is valid by existing; `seq` is contiguous from 1 within
//! an epoch; a [`Disconnect`] says why, and each protocol says with which close code.
#![deny(clippy::indexing_slicing)]

mod command;
mod disconnect;
mod gap;
mod ids;
mod name;
mod now;
mod payload;
mod policy;
mod room;

pub use command::{Command, CommandError};
pub use disconnect::Disconnect;
pub use gap::{Gap, GapReason};
pub use ids::{ConnKey, LoopId, RoomHandle};
pub use name::{BadRoomName, RoomName};
pub use now::Now;
pub use payload::{Encoding, PayloadKind};
pub use policy::{
    BadPattern, Compression, Overflow, RawDrops, RoomOptions, RoomPattern, RoomPolicies,
};
pub use room::{LoopMembers, Published, Room};
