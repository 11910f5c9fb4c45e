//! Bodies that hold a few named fields: read strictly, and without telling their values again.
//!
//! Not here: which fields there are (`login`, `revocation`). Invariant: a field that nobody knows
//! and a field that is there twice are refused.

use crate::http::Response;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};

/// Reads a JSON object of the fields that `T` has; `known` names them, for who sent another.
pub(super) fn read<T: DeserializeOwned>(body: &[u8], known: &str) -> Result<T, Response> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(wrong(&format!("the body is a JSON object of {known}")));
    }
    serde_json::from_slice(body).map_err(|error| {
        // The error's own words may hold a value.
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            serde_json::error::Category::Data => wrong(&format!(
                "the body is a JSON object of {known}, each at most once, and nothing else: \
                 see line {line} column {column}"
            )),
            serde_json::error::Category::Io
            | serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof => {
                wrong(&format!("the body is not one JSON value: see line {line} column {column}"))
            }
        }
    })
}

/// A field that may be left out, but is not `null`.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// A 400 that says what would be right.
pub(super) fn wrong(detail: &str) -> Response {
    Response::problem(400, detail)
}
