//! A request that can't be carried out as it stands, and what its sender is told.

use super::{ErrorReply, RequestId};
use crate::broker::ErrorCode;
use std::borrow::Cow;

/// What is wrong with a request, and as much of it as could be read.
#[derive(Clone, PartialEq, Debug)]
pub struct Mistake<'a> {
    /// The stable word for it.
    pub code: ErrorCode,
    /// Where it is.
    pub field: Option<&'static str>,
    /// What is wrong and what would be right, for people. Bounded, whatever the request.
    pub message: Cow<'static, str>,
    /// The request's id, if that was one.
    pub id: Option<RequestId<'a>>,
    /// The request's room, if that was a room's name.
    pub room: Option<Cow<'a, str>>,
}

impl Mistake<'_> {
    /// The reply that tells of it.
    pub fn reply(&self) -> ErrorReply<'_> {
        ErrorReply {
            code: self.code,
            message: &self.message,
            field: self.field,
            room: self.room.as_deref(),
            id: self.id,
            retry_after_ms: None,
        }
    }
}

/// The same without what else could be read.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) code: ErrorCode,
    pub(super) field: Option<&'static str>,
    pub(super) message: Cow<'static, str>,
}

impl Wrong {
    /// The field is there and is not what it must be.
    #[cold]
    pub(super) fn bad(field: &'static str, wanted: &str) -> Self {
        let message = format!("{field}: {wanted}").into();
        Self { code: ErrorCode::BadField, field: Some(field), message }
    }

    /// The field is missing.
    #[cold]
    pub(super) fn missing(field: &'static str, wanted: &str) -> Self {
        let message = format!("{field} is missing: {wanted}").into();
        Self { code: ErrorCode::BadField, field: Some(field), message }
    }

    /// The field is longer than `bytes_max`.
    #[cold]
    pub(super) fn long(field: &'static str, bytes_max: usize) -> Self {
        let message = format!("{field}: at most {bytes_max} bytes").into();
        Self { code: ErrorCode::TooLong, field: Some(field), message }
    }

    /// The request is no object that could be read.
    #[cold]
    pub(super) fn unreadable(message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: ErrorCode::BadJson, field: None, message: message.into() }
    }
}
