//! How much may be asked of the load tester, and the parsers of flags that say so.
//!
//! Not here: what the server allows, or the machine. Invariant: whatever passes fits into this
//! process's memory and into its stamps, whose numbers have 32 bits.

use std::fmt::Display;

/// A phase is at most an hour, and so are warm-up and measurement together: stamps count µs.
pub(super) const SECONDS_MAX: f64 = 3_600.0;
/// Payload bytes of a message.
pub(super) const SIZE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Connections at once, and so also rooms. The descriptor limit is often lower.
pub(super) const CONNECTIONS_MAX: usize = 1_000_000;
/// Messages a second: an hour of them can be counted in 32 bits.
pub(super) const RATE_MAX: f64 = 1_000_000.0;
// The longest phase's µs, and the messages of the longest run at the highest rate, fit into stamps.
const _: () = assert!(SECONDS_MAX * 1e6 < u32::MAX as f64);
const _: () = assert!(SECONDS_MAX * RATE_MAX < u32::MAX as f64);
/// Accounts that are kept: one for each member and publisher of its room.
pub(super) const ACCOUNTS_MAX: usize = 1 << 26;
/// Bytes that all publishers together may have under way or waiting to be sent.
pub(super) const UNDER_WAY_BYTES_MAX: usize = 1 << 30;

/// A number of things there must be some of.
pub(super) fn at_least_one(raw: &str) -> Result<usize, String> {
    raw.parse().ok().filter(|count| *count > 0).ok_or_else(|| "a number from 1".to_owned())
}

/// A number of connections, or of rooms.
pub(super) fn connections(raw: &str) -> Result<usize, String> {
    let rule = || format!("a number from 1 to {CONNECTIONS_MAX}");
    at_least_one(raw).ok().filter(|count| *count <= CONNECTIONS_MAX).ok_or_else(rule)
}

/// A number above 0.
pub(super) fn positive(raw: &str) -> Result<f64, String> {
    let number: Option<f64> = raw.parse().ok();
    number.filter(|n| n.is_finite() && *n > 0.0).ok_or_else(|| "a number above 0".to_owned())
}

/// Seconds of a phase.
pub(super) fn seconds(raw: &str) -> Result<f64, String> {
    let rule = || format!("seconds above 0, at most {SECONDS_MAX}");
    positive(raw).ok().filter(|seconds| *seconds <= SECONDS_MAX).ok_or_else(rule)
}

/// Messages a second.
pub(super) fn rate(raw: &str) -> Result<f64, String> {
    let rule = || format!("messages a second above 0, at most {RATE_MAX}");
    positive(raw).ok().filter(|rate| *rate <= RATE_MAX).ok_or_else(rule)
}

/// Whether a request can ask for `target`; in words if not.
pub(super) fn path(target: &str) -> Result<(), String> {
    if target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(format!(
        "`{}` is no path: one begins with `/` and has no spaces and only ASCII (--path-template or \
         --path, --room)",
        target.escape_debug()
    ))
}

/// The product of some counts, or that it is more than `most`, in the words of `what`.
pub(super) fn product(counts: &[usize], most: usize, what: impl Display) -> Result<usize, String> {
    let product = counts.iter().try_fold(1_usize, |product, count| product.checked_mul(*count));
    product.filter(|product| *product <= most).ok_or_else(|| {
        let counts = counts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
        format!("{counts} {what} are more than {most}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_is_the_last_that_passes() {
        assert_eq!(connections("1000000"), Ok(CONNECTIONS_MAX));
        assert!(connections("1000001").is_err() && connections("0").is_err());
        assert_eq!(rate("1000000"), Ok(RATE_MAX));
        assert!(rate("1000000.5").is_err() && rate("inf").is_err() && rate("0").is_err());
        assert_eq!(seconds("3600"), Ok(SECONDS_MAX));
        assert!(seconds("3600.1").is_err() && seconds("NaN").is_err());
    }

    #[test]
    fn a_product_that_is_too_large_says_of_what() {
        assert_eq!(product(&[2, 3], 6, "apples"), Ok(6));
        let wrong = product(&[2, 3], 5, "apples").expect_err("too many");
        assert_eq!(wrong, "2 x 3 apples are more than 5");
        assert!(product(&[usize::MAX, 2], usize::MAX, "apples").is_err());
    }
}
