//! What is wrong with a configuration, where, and what would be right.
//!
//! Start-up is the one place where an error is rich text: nobody can be told later.

use std::fmt;

/// Where a setting was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// Nowhere: the default holds.
    Default,
    /// In the file of this name; lines count from 1.
    File {
        /// The file's name, as the user gave it.
        name: String,
        /// The line, where the parser knows it.
        line: Option<usize>,
    },
    /// In this environment variable.
    Environment(String),
    /// In this flag of the command line, with its dashes.
    Flag(String),
}

/// One mistake: where it is, which key it is about, what is wrong, what would be right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// Where the mistake was written.
    pub place: Place,
    /// The key, with its table: `limits.rooms_max`, `overflow in [[rooms]] #2`.
    pub key: String,
    /// The mistake, as a sentence that names key and place.
    pub wrong: String,
    /// What would be right.
    pub right: Option<String>,
    /// The name that was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Place::File { line: Some(line), .. } = &self.place {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.wrong)?;
        if let Some(right) = &self.right {
            write!(f, "; {right}")?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; did you mean \"{suggestion}\"?")?;
        }
        Ok(())
    }
}

/// Every mistake that was found, at least one. Displays as one line each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The mistakes, or `None` where there are none.
    pub fn found(errors: Vec<ConfigError>) -> Option<Self> {
        if errors.is_empty() { None } else { Some(Self(errors)) }
    }

    /// The mistakes, in the order of file, environment, flags, and how these fit together.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, error) in self.0.iter().enumerate() {
            if nth > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

/// The name that `name` was probably meant to be, if any is near enough. Candidates are what to
/// compare with and what to suggest; of equally near ones the last is taken.
pub(super) fn near<'a>(
    name: &str,
    candidates: impl Iterator<Item = (&'a str, &'a str)>,
) -> Option<&'a str> {
    let wanted = name.to_ascii_lowercase().replace('-', "_");
    candidates
        .map(|(alias, shown)| {
            (likeness(&wanted, &alias.to_ascii_lowercase().replace('-', "_")), shown)
        })
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, shown)| shown)
}

/// From 0 to 1; names that differ only in the order of their words are nearly the same.
fn likeness(wanted: &str, candidate: &str) -> f64 {
    let words = |name: &str| {
        let mut words: Vec<String> = name.split('_').map(str::to_owned).collect();
        words.sort_unstable();
        words
    };
    if wanted != candidate && words(wanted) == words(candidate) {
        return 0.99;
    }
    strsim::normalized_damerau_levenshtein(wanted, candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_and_another_order_of_words_find_the_name_meant() {
        let names = ["overflow", "outbox_bytes_max", "outbox_messages_max", "pattern"];
        for (slip, meant) in [
            ("overflw", Some("overflow")),
            ("Overflow", Some("overflow")),
            ("max_outbox_bytes", Some("outbox_bytes_max")),
            ("outbox-messages-max", Some("outbox_messages_max")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(near(slip, names.into_iter().map(|name| (name, name))), meant, "{slip}");
        }
    }

    #[test]
    fn an_error_reads_as_one_sentence() {
        let mut error = ConfigError {
            place: Place::File { name: "f.toml".into(), line: Some(7) },
            key: "overflw".into(),
            wrong: "unknown key \"overflw\" in [[rooms]] #2 of f.toml".into(),
            right: None,
            suggestion: Some("overflow".into()),
        };
        let line = "line 7: unknown key \"overflw\" in [[rooms]] #2 of f.toml; \
                    did you mean \"overflow\"?";
        assert_eq!(error.to_string(), line);
        error.place = Place::Environment("FANFARE_LOOPS".into());
        assert!(error.to_string().starts_with("unknown key"));
    }
}
