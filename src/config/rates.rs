//! Settings of how much may be asked for: rates, and memory.
//!
//! Not here: buckets and their refusals (`engine`), what there is of memory (`net`). Invariant: 0
//! is no rate at all.

use super::value::{self, NONE, Value, Wanted};

/// Below this the process itself has no room.
const MEMORY_BYTES_LEAST: usize = 16 << 20;
/// Highest rate in bytes a second. Beyond it is a slip.
const BYTES_CEILING: usize = 1 << 40;

/// The rates of one kind of holder; 0 is no rate at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RateConfig {
    /// Messages in a second.
    pub messages: u32,
    /// Bytes in a second.
    pub bytes: u64,
}

/// How fast may be published.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RatesConfig {
    /// By each connection.
    pub connection: RateConfig,
    /// By each user, over all connections.
    pub user: RateConfig,
    /// From each address.
    pub address: RateConfig,
}

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

/// Messages in a second.
pub(super) fn messages(value: &Value<'_>) -> Result<u32, Wanted> {
    value::number32(value, 0..=u32::MAX)
}

/// Bytes in a second.
pub(super) fn bytes(value: &Value<'_>) -> Result<u64, Wanted> {
    value::size(value, 0..=BYTES_CEILING).map(|bytes| bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_auto_none_or_enough_to_run_in() {
        for (raw, read) in [
            ("auto", Ok(MemoryMax::Auto)),
            ("none", Ok(MemoryMax::None)),
            ("2GiB", Ok(MemoryMax::Bytes(2 << 30))),
            ("16777216", Ok(MemoryMax::Bytes(16 << 20))),
        ] {
            assert_eq!(memory_max(&Value::Bare(raw)), read, "{raw}");
        }
        for wrong in [Value::Bare("16777215"), Value::Integer(0), Value::Text("90%")] {
            assert!(memory_max(&wrong).expect_err("too little").contains("from 16MiB on"));
        }
    }

    #[test]
    fn rates_are_off_at_0_and_have_a_ceiling() {
        assert_eq!((messages(&Value::Integer(0)), bytes(&Value::Bare("0"))), (Ok(0), Ok(0)));
        assert_eq!(bytes(&Value::Text("1MiB")), Ok(1 << 20));
        assert!(messages(&Value::Integer(-1)).is_err() && messages(&Value::Text("1/s")).is_err());
        assert!(bytes(&Value::Text("2TiB")).is_err());
    }
}
