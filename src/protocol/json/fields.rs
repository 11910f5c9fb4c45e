//! The fields of a request: one flat object, each value kept as the JSON text that it is.
//!
//! Not here: which request wants which field (`decode`), what a value must be (`value`).
//! Invariants: a field and its aliases are one; one that is there twice is a mistake if the request
//! has such a field; what it does not know is skipped; a value of `null` is the same as none, but
//! for content.

use super::mistake::Wrong;
use crate::limits::REQUEST_FIELDS_MAX;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor,
};
use serde_json::value::RawValue;
use std::cell::Cell;
use std::fmt;

/// What a request can carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Field {
    Type,
    Id,
    Room,
    Content,
    Key,
    Dedupe,
    Token,
    Since,
    History,
    Presence,
    Echo,
    Batch,
    Heartbeat,
    Session,
    Positions,
    Options,
    User,
    IsTyping,
    Seq,
    Status,
    Info,
    Prefix,
    Limit,
    After,
    Before,
}

impl Field {
    const COUNT: usize = 25;

    const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The field called `name`, by its own name or by an alias.
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "type" => Self::Type,
            "id" => Self::Id,
            "room" | "roomId" => Self::Room,
            "content" | "text" | "data" | "message" => Self::Content,
            "key" => Self::Key,
            "dedupe" => Self::Dedupe,
            "token" => Self::Token,
            "since" => Self::Since,
            "history" => Self::History,
            "presence" => Self::Presence,
            "echo" => Self::Echo,
            "batch" => Self::Batch,
            "heartbeat" => Self::Heartbeat,
            "session" => Self::Session,
            "positions" => Self::Positions,
            "options" => Self::Options,
            "user" => Self::User,
            "isTyping" => Self::IsTyping,
            "seq" => Self::Seq,
            "status" => Self::Status,
            "info" => Self::Info,
            "prefix" => Self::Prefix,
            "limit" => Self::Limit,
            "after" => Self::After,
            "before" => Self::Before,
            _ => return None,
        })
    }

    /// Its own name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Id => "id",
            Self::Room => "room",
            Self::Content => "content",
            Self::Key => "key",
            Self::Dedupe => "dedupe",
            Self::Token => "token",
            Self::Since => "since",
            Self::History => "history",
            Self::Presence => "presence",
            Self::Echo => "echo",
            Self::Batch => "batch",
            Self::Heartbeat => "heartbeat",
            Self::Session => "session",
            Self::Positions => "positions",
            Self::Options => "options",
            Self::User => "user",
            Self::IsTyping => "isTyping",
            Self::Seq => "seq",
            Self::Status => "status",
            Self::Info => "info",
            Self::Prefix => "prefix",
            Self::Limit => "limit",
            Self::After => "after",
            Self::Before => "before",
        }
    }
}

/// The values of one request's fields.
#[derive(Default)]
pub(super) struct Fields<'a> {
    values: [Option<&'a str>; Field::COUNT],
    /// Fields that came again; what came first stands.
    again: Vec<Field>,
    /// Fields that were asked for, as bits.
    asked: Cell<u32>,
}

impl<'a> Fields<'a> {
    /// Reads one object. After a mistake the fields before it are there.
    pub(super) fn read(&mut self, payload: &'a str) -> Result<(), Wrong> {
        // Whatever else serde would say of another value, it would quote it.
        if !payload.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
            return Err(Wrong::unreadable("a request is one JSON object with a `type`"));
        }
        let mut deserializer = serde_json::Deserializer::from_str(payload);
        let read = Filling(self).deserialize(&mut deserializer).and_then(|()| deserializer.end());
        read.map_err(|error| Wrong::unreadable(error.to_string()))
    }

    /// The field's value as it came; `null` is one.
    pub(super) fn raw(&self, field: Field) -> Option<&'a str> {
        self.asked.set(self.asked.get() | field.bit());
        self.values.get(field as usize).copied().flatten()
    }

    /// The field's value, if it has one.
    pub(super) fn value(&self, field: Field) -> Option<&'a str> {
        self.raw(field).filter(|raw| *raw != "null")
    }

    /// A mistake, if one of the fields that were asked for is there twice.
    pub(super) fn check(&self) -> Result<(), Wrong> {
        let asked = |field: &&Field| self.asked.get() & field.bit() != 0;
        let Some(field) = self.again.iter().find(asked) else { return Ok(()) };
        let name = field.name();
        let message = format!("{name} is there twice, by this name or another of its");
        Err(Wrong { field: Some(name), ..Wrong::unreadable(message) })
    }
}

/// Fills the fields as they come.
struct Filling<'f, 'a>(&'f mut Fields<'a>);

impl<'de> DeserializeSeed<'de> for Filling<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Filling<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut count = 0;
        while let Some(Name(field)) = map.next_key()? {
            count += 1;
            if count > REQUEST_FIELDS_MAX {
                let text = format_args!("a request has at most {REQUEST_FIELDS_MAX} fields");
                return Err(A::Error::custom(text));
            }
            let slot =
                field.and_then(|field| Some((field, self.0.values.get_mut(field as usize)?)));
            let Some((field, slot)) = slot else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value::<&'de RawValue>()?.get();
            match slot {
                Some(_) => self.0.again.push(field),
                None => *slot = Some(value),
            }
        }
        Ok(())
    }
}

/// A field's name; `None` is one that no request knows.
struct Name(Option<Field>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        Ok(Name(Field::of(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_place_of_its_own() {
        let last = Field::Before as usize;
        assert_eq!(last + 1, Field::COUNT);
        let mut fields = Fields::default();
        fields
            .read(r#"{"before":1,"type":"x","roomId":"a","extra":{"type":2}}"#)
            .expect("an object");
        assert_eq!(fields.raw(Field::Before), Some("1"));
        assert_eq!(fields.raw(Field::Type), Some("\"x\""));
        assert_eq!(fields.raw(Field::Room), Some("\"a\""));
        assert_eq!(fields.values.iter().flatten().count(), 3);
    }

    #[test]
    fn null_is_no_value() {
        let mut fields = Fields::default();
        fields.read(r#"{"room": null , "content":null}"#).expect("an object");
        assert_eq!((fields.value(Field::Room), fields.raw(Field::Content)), (None, Some("null")));
    }

    #[test]
    fn a_field_and_its_alias_are_the_same_field_twice() {
        for twice in [r#"{"room":1,"room":2}"#, r#"{"text":1,"data":2}"#, r#"{"id":null,"id":1}"#] {
            let mut fields = Fields::default();
            fields.read(twice).expect(twice);
            assert!(fields.check().is_ok(), "nobody has asked for it");
            for field in [Field::Room, Field::Content, Field::Id] {
                fields.raw(field);
            }
            let wrong = fields.check().expect_err(twice);
            assert!(wrong.message.contains("twice") && wrong.field.is_some(), "{wrong:?}");
        }
    }

    #[test]
    fn fields_are_counted_known_or_not() {
        let object = |count: usize| {
            let fields: Vec<String> = (0..count).map(|n| format!("\"f{n}\":0")).collect();
            format!("{{{}}}", fields.join(","))
        };
        assert!(Fields::default().read(&object(REQUEST_FIELDS_MAX)).is_ok());
        let wrong = Fields::default().read(&object(REQUEST_FIELDS_MAX + 1)).expect_err("many");
        assert!(wrong.message.starts_with("a request has at most 32 fields"), "{wrong:?}");
    }

    #[test]
    fn a_mistake_leaves_what_came_before_it() {
        let mut fields = Fields::default();
        assert!(fields.read(r#"{"id":7,"room":}"#).is_err());
        assert_eq!(fields.raw(Field::Id), Some("7"));
    }
}
