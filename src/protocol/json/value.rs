//! What the value of one field must be: a text, a number, a flag, a position, one of some words.
//!
//! Not here: which request wants it. Invariant: nothing is converted; a number in quotes is a text,
//! and a text is no number.

use super::fields::{Field, Fields};
use super::mistake::Wrong;
use crate::broker::{EpochText, Position, RoomName, User};
use crate::limits::{DEDUPE_KEY_BYTES_MAX, POSITIONS_MAX, ROOM_NAME_BYTES_MAX};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

const WANTED_POSITION: &str =
    "an object of `epoch` (16 hexadecimal digits, as a string) and `seq` (a whole number)";

/// The text that `raw`, one JSON value, is; without a copy where nothing is escaped.
pub(super) fn text(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    match memchr::memchr(b'\\', inner.as_bytes()) {
        None => Some(Cow::Borrowed(inner)),
        Some(_) => serde_json::from_str(raw).ok().map(Cow::Owned),
    }
}

fn position(raw: &str) -> Option<Position> {
    #[derive(Deserialize)]
    struct Parts<'a> {
        #[serde(borrow)]
        epoch: Cow<'a, str>,
        seq: u64,
    }
    // serde would take an array for a struct.
    let parts: Parts<'_> = serde_json::from_str(raw).ok().filter(|_| raw.starts_with('{'))?;
    Some(Position { epoch: EpochText::parse(&parts.epoch)?, seq: parts.seq })
}

impl<'a> Fields<'a> {
    /// A text, whatever it says.
    pub(super) fn text(&self, field: Field) -> Result<Option<Cow<'a, str>>, Wrong> {
        let Some(raw) = self.value(field) else { return Ok(None) };
        text(raw).map(Some).ok_or_else(|| Wrong::bad(field.name(), "a string"))
    }

    /// A room's name, if there is one.
    pub(super) fn room(&self) -> Result<Option<Cow<'a, str>>, Wrong> {
        let Some(name) = self.text(Field::Room)? else { return Ok(None) };
        match RoomName::check(&name) {
            Ok(_) => Ok(Some(name)),
            Err(bad) => Err(Wrong::bad(Field::Room.name(), &bad.to_string())),
        }
    }

    /// A user's id, if there is one.
    pub(super) fn user(&self, field: Field) -> Result<Option<Cow<'a, str>>, Wrong> {
        let Some(id) = self.text(field)? else { return Ok(None) };
        match User::check_id(&id) {
            Ok(_) => Ok(Some(id)),
            Err(bad) => Err(Wrong::bad(field.name(), &bad.to_string())),
        }
    }

    /// A key: a text of some bytes.
    pub(super) fn key(&self, field: Field) -> Result<Option<Cow<'a, str>>, Wrong> {
        let Some(key) = self.text(field)? else { return Ok(None) };
        match key.len() {
            0 => Err(Wrong::bad(field.name(), "a string of at least one byte")),
            1..=DEDUPE_KEY_BYTES_MAX => Ok(Some(key)),
            _ => Err(Wrong::long(field.name(), DEDUPE_KEY_BYTES_MAX)),
        }
    }

    /// Part of a room's name, or nothing at all.
    pub(super) fn name_part(&self, field: Field) -> Result<Option<Cow<'a, str>>, Wrong> {
        let Some(part) = self.text(field)? else { return Ok(None) };
        let fits = part.len() <= ROOM_NAME_BYTES_MAX;
        if fits { Ok(Some(part)) } else { Err(Wrong::long(field.name(), ROOM_NAME_BYTES_MAX)) }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, field: Field) -> Result<Option<bool>, Wrong> {
        match self.value(field) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(Wrong::bad(field.name(), "`true` or `false`")),
        }
    }

    /// A whole number.
    pub(super) fn number(&self, field: Field) -> Result<Option<u64>, Wrong> {
        let Some(raw) = self.value(field) else { return Ok(None) };
        let wrong = |_| Wrong::bad(field.name(), "a whole number, not negative");
        raw.parse().map(Some).map_err(wrong)
    }

    /// A count of what is wanted; what is more than can be counted is everything.
    pub(super) fn count(&self, field: Field) -> Result<Option<u32>, Wrong> {
        let number = self.number(field)?;
        Ok(number.map(|number| u32::try_from(number).unwrap_or(u32::MAX)))
    }

    /// The same where none would be nothing to ask for.
    pub(super) fn limit(&self) -> Result<Option<u32>, Wrong> {
        match self.count(Field::Limit)? {
            Some(0) => Err(Wrong::bad(Field::Limit.name(), "a whole number from 1")),
            limit => Ok(limit),
        }
    }

    /// A place in a room's order.
    pub(super) fn position(&self, field: Field) -> Result<Option<Position>, Wrong> {
        let Some(raw) = self.value(field) else { return Ok(None) };
        let position = position(raw).ok_or_else(|| Wrong::bad(field.name(), WANTED_POSITION))?;
        Ok(Some(position))
    }

    /// Places in the orders of several rooms.
    pub(super) fn positions(&self) -> Result<Vec<(Cow<'a, str>, Position)>, Wrong> {
        let Some(raw) = self.value(Field::Positions) else { return Ok(Vec::new()) };
        let name = Field::Positions.name();
        match serde_json::from_str(raw) {
            Ok(Positions::Fine(list)) => Ok(list),
            Ok(Positions::Many) => {
                Err(Wrong::bad(name, &format!("at most {POSITIONS_MAX} rooms in one hello")))
            }
            Err(_) => {
                let wanted = format!("an object with rooms' names, and for each {WANTED_POSITION}");
                Err(Wrong::bad(name, &wanted))
            }
        }
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(
        &self,
        field: Field,
        words: &[(&str, T)],
    ) -> Result<Option<T>, Wrong> {
        let Some(raw) = self.value(field) else { return Ok(None) };
        word(field.name(), raw, words).map(Some)
    }
}

/// The one of `words` that `raw`, one JSON value, says.
pub(super) fn word<T: Copy>(
    field: &'static str,
    raw: &str,
    words: &[(&str, T)],
) -> Result<T, Wrong> {
    let said = text(raw);
    let found = words.iter().find(|(word, _)| said.as_deref() == Some(*word));
    found.map(|(_, meant)| *meant).ok_or_else(|| {
        let words: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        Wrong::bad(field, &format!("one of {}", words.join(", ")))
    })
}

enum Positions<'a> {
    Fine(Vec<(Cow<'a, str>, Position)>),
    Many,
}

impl<'de> Deserialize<'de> for Positions<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PositionsVisitor)
    }
}

struct PositionsVisitor;

impl<'de> Visitor<'de> for PositionsVisitor {
    type Value = Positions<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("positions")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Positions<'de>, A::Error> {
        let (mut list, mut many) = (Vec::new(), false);
        while let Some((name, raw)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
            let name = text(name.get()).filter(|name| RoomName::check(name).is_ok());
            let entry = name.zip(position(raw.get()));
            let entry = entry.ok_or_else(|| A::Error::custom("no room or no position"))?;
            if list.len() < POSITIONS_MAX { list.push(entry) } else { many = true }
        }
        Ok(if many { Positions::Many } else { Positions::Fine(list) })
    }
}
