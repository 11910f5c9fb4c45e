//! What takes long, on threads of its own: fetching sets of keys, checking passwords.
//!
//! Not here: loops and how they are reached; who starts a thread says where its results go.
//! Invariants: no loop waits for any of this; what waits for a thread is bounded; a thread ends by
//! itself when whoever started it has let go.
#![deny(clippy::indexing_slicing)]

mod attempts;
mod desk;
mod fetch;
mod jwks;
mod logins;
mod passwords;

pub use desk::Desk;
pub use fetch::{FetchError, without_secrets};
pub use jwks::{Delivery, KeySource, Watch};
pub use logins::{Logins, Request};
pub use passwords::{BadPasswordHash, PasswordHash};
