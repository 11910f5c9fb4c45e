//! Settings of how much may be asked for: memory.
//!
//! Not here: what there is of memory (`net`).

use super::value::{self, NONE, Value, Wanted};

/// Below this the process itself has no room.
const MEMORY_BYTES_LEAST: usize = 16 << 20;

/// How much memory the process may use before it refuses new work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MemoryMax {
    /// What its control group may use; where that has no bound, as much as there is.
    #[default]
    Auto,
    /// As much as there is.
    None,
    /// So many bytes.
    Bytes(u64),
}

/// Reads a bound of memory.
pub(super) fn memory_max(value: &Value<'_>) -> Result<MemoryMax, Wanted> {
    match value::text(value) {
        Some("auto") => Ok(MemoryMax::Auto),
        Some(NONE) => Ok(MemoryMax::None),
        Some(_) | None => value::size(value, MEMORY_BYTES_LEAST..=usize::MAX)
            .map(|bytes| MemoryMax::Bytes(bytes as u64))
            .map_err(|_| "\"auto\", \"none\", or a size from 16MiB on, such as \"2GiB\"".into()),
    }
}
