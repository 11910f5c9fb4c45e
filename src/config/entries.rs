//! Tables of a file that may stand there several times: `[[rooms]]`, `[[roles]]`, `[[users]]`.
//!
//! Not here: what their keys mean. Invariant: every key of an entry is either taken or reported,
//! and a secret one is reported without its value.

use super::error::{ConfigError, Place, near};
use super::file::{mismatch, place_at, unknown_key, value};
use super::layers::{Draft, File, named};
use super::value::{Value, Wanted};
use toml::Spanned;
use toml::de::DeValue;

/// A kind of entry.
pub(super) struct Table {
    /// The key under which entries stand in a file.
    pub(super) key: &'static str,
    /// How many there may be.
    pub(super) most: usize,
    /// What an entry may say: name, default, meaning.
    pub(super) keys: &'static [(&'static str, &'static str, &'static str)],
    /// Those of its keys whose values are not shown.
    pub(super) secrets: &'static [&'static str],
}

impl Table {
    /// Reads all entries: `each` is given every one that is a table, by its place from 1.
    pub(super) fn apply(
        &self,
        draft: &mut Draft,
        file: &File<'_>,
        (at, found): (usize, &DeValue<'_>),
        each: impl Fn(&mut Draft, &File<'_>, usize, &Spanned<DeValue<'_>>),
    ) {
        let DeValue::Array(entries) = found else {
            let right = format!("it takes tables: write [[{}]] above each", self.key);
            draft.errors.push(mismatch(file, at, self.key, found, right));
            return;
        };
        for (nth, entry) in (1..).zip(entries.iter()).take(self.most) {
            each(draft, file, nth, entry);
        }
        if let Some(over) = entries.get(self.most) {
            let place = place_at(file, over.span().start);
            let right = format!("there may be {}", self.most);
            draft.errors.push(self.wrong(&place, "", self.most + 1, "is one too many", &right));
        }
    }

    /// Reads the `nth` entry by handing `set` each key; `set` says `None` where there is no such
    /// key. Where the entry stands, if it has no mistakes.
    pub(super) fn read(
        &self,
        draft: &mut Draft,
        file: &File<'_>,
        (nth, entry): (usize, &Spanned<DeValue<'_>>),
        mut set: impl FnMut(&str, &Value<'_>) -> Option<Result<(), Wanted>>,
    ) -> Option<Place> {
        let place = place_at(file, entry.span().start);
        let DeValue::Table(table) = entry.get_ref() else {
            let right = format!("it takes a table: write [[{}]]", self.key);
            let found = format!("is {}", value(entry.get_ref()));
            draft.errors.push(self.wrong(&place, "", nth, &found, &right));
            return None;
        };
        let before = draft.errors.len();
        for (key, item) in table {
            let name = key.get_ref().as_ref();
            let found = value(item.get_ref());
            let at = key.span().start;
            match set(name, &found) {
                Some(Ok(())) => {}
                Some(Err(wanted)) => {
                    let is = if self.secrets.contains(&name) {
                        "is not right".to_owned()
                    } else {
                        format!("is {found}")
                    };
                    let right = format!("it takes {wanted}");
                    draft.errors.push(self.wrong(&place_at(file, at), name, nth, &is, &right));
                }
                None => {
                    let meant = near(name, self.keys.iter().map(|(key, ..)| (*key, *key)));
                    let table = format!("[[{}]] #{nth}", self.key);
                    draft.errors.push(unknown_key(file, at, name, Some(&table), meant));
                }
            }
        }
        (draft.errors.len() == before).then_some(place)
    }

    /// A mistake in the `nth` entry; `key` is empty where it is about the entry as a whole.
    pub(super) fn wrong(
        &self,
        place: &Place,
        key: &str,
        nth: usize,
        is: &str,
        right: &str,
    ) -> ConfigError {
        let entry = format!("[[{}]] #{nth}", self.key);
        let key = if key.is_empty() { entry } else { format!("{key} in {entry}") };
        ConfigError {
            wrong: format!("{} {is}", named(&key, place)),
            place: place.clone(),
            key,
            right: Some(right.to_owned()),
            suggestion: None,
        }
    }
}
