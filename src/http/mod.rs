//! HTTP/1.1 as this broker serves it: heads (through `httparse`), bodies, answers, routes.
//!
//! Not here: sockets, time-outs, who may do what, the upgrade to WebSocket (`ws`). Invariants: a
//! byte of a head is searched once; what framing can be read in two ways is refused, never guessed;
//! nothing is allocated for what was announced, only for what came; the answer to a stream does not
//! depend on how the network cut it.
#![deny(clippy::indexing_slicing)]

mod body;
mod chunked;
mod error;
mod framing;
mod head;
mod head_reader;
mod response;
mod routes;
mod spill;
mod target;

pub use body::{BodyReader, BodyStep};
pub use error::RequestError;
pub use framing::BodyFraming;
pub use head::{Fields, Head, Method, Version, parse_head};
pub use head_reader::{HeadBytes, HeadReader, HeadStep};
pub use response::{Connection, Response, SendBody, push_continue, reason};
pub use routes::{Route, route};
pub use spill::Spill;
pub use target::decode_segment;
