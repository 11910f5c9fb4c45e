//! A secret: never printed, compared in a time that tells nothing of it.

use std::fmt;
use subtle::ConstantTimeEq;

/// Bytes that must not be seen: keys and passwords. [`fmt::Debug`] says only that there is one.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Keeps `bytes`.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for who has to use them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether `given` is the same; the time it takes depends on the lengths alone.
    pub fn is(&self, given: &[u8]) -> bool {
        self.0.ct_eq(given).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_compared_and_never_shown() {
        let secret = Secret::new(*b"open sesame");
        assert!(secret.is(b"open sesame"));
        for wrong in [&b"open sesamE"[..], b"open sesame ", b"", b"open"] {
            assert!(!secret.is(wrong));
        }
        assert_eq!(format!("{secret:?}"), "[secret]");
    }
}
