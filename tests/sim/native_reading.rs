//! What a native client is sent, read: JSON objects, batches and records.
//!
//! Not here: what it makes of them (`native`). Invariant: whatever is not understood is a
//! violation, since nothing is sent that was not asked for.

use super::client::{Sig, read_sig};
use super::native::{Asked, Joined, Native};
use super::{Law, Violation, hold};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fanfare::broker::{EpochText, Gap, GapReason, PayloadKind, RoomHandle};
use fanfare::protocol::binary::{self, Op};
use fanfare::ws::DataKind;
use serde_json::Value;
use std::collections::BTreeSet;

type Read = Result<(), Violation>;

impl Native {
    /// Takes in one message.
    pub(crate) fn read(&mut self, kind: DataKind, payload: &[u8]) -> Read {
        match kind {
            DataKind::Binary => self.read_records(payload),
            DataKind::Text => {
                let object = serde_json::from_slice(payload);
                let object: Value = object.map_err(|error| self.garbled(&error.to_string()))?;
                self.read_object(&object)
            }
        }
    }

    fn read_object(&mut self, object: &Value) -> Read {
        let name = text(object, "room").unwrap_or_default();
        match text(object, "type").unwrap_or_default() {
            "room-message" => {
                let (seq, sig) = self.read_item(object, name)?;
                self.take_message(name, seq, sig)
            }
            "message-batch" => {
                self.met.batches += 1;
                let messages = self.read_items(object, name)?;
                hold(Law::Wire, !messages.is_empty(), || "an empty batch".to_owned())?;
                messages.into_iter().try_for_each(|(seq, sig)| self.take_message(name, seq, sig))
            }
            "room-joined" => {
                let joined = self.read_joined(object, name)?;
                self.take_joined(name, joined)
            }
            "room-left" => {
                let request = self.number(object, "id")?;
                self.take_left(name, request)
            }
            "ack" => {
                let seq = self.number(object, "seq")?;
                let request = object.get("id").and_then(Value::as_u64);
                self.take_ack(name, request, (seq, text(object, "epoch").unwrap_or_default()))
            }
            "welcome" => {
                let id = text(object.get("user").unwrap_or(&Value::Null), "id");
                self.known_as = id.map(str::to_owned);
                self.answered(object, |asked| asked == Asked::Other)
            }
            "pong" | "room-info" | "members-list" => {
                self.answered(object, |asked| asked == Asked::Other)
            }
            "message-history" => {
                let messages = self.read_items(object, name)?;
                let is_whole = messages.is_sorted_by(|(seq, _), (next, _)| seq + 1 == *next);
                hold(Law::Join, is_whole, || format!("a page with a hole: {messages:?}"))?;
                let room = self.stays.iter().position(|stay| stay.name == name);
                let Some(room) = room else { return Err(self.garbled("a page of no room")) };
                self.stays[room].seen.extend(messages);
                self.answered(object, |asked| asked == Asked::Page { room })
            }
            "typing" => {
                self.met.typing += 1;
                let is_own = self.user.is_none() && self.known_as == Some(self.user_of(object)?);
                hold(Law::Wire, !is_own, || format!("it was told that it types: {object}"))?;
                self.room_of(name).map(drop)
            }
            "user-joined" => self.read_arrival(object, name),
            "user-left" => self.read_departure(object, name),
            "presence-diff" => self.read_diff(object, name),
            "gap" => {
                let epoch = text(object, "epoch").unwrap_or_default();
                let gap = self.read_gap(object)?;
                self.take_gap(name, epoch, gap)
            }
            "advice" | "user-lost" | "pag" => Ok(()),
            other => Err(self.garbled(&format!("{other}: {object}"))),
        }
    }

    fn read_arrival(&mut self, object: &Value, name: &str) -> Read {
        self.met.arrivals += 1;
        let user = self.user_of(object)?;
        if let Some(believes) = &mut self.room_of(name)?.believes {
            believes.insert(user);
        }
        Ok(())
    }

    fn read_departure(&mut self, object: &Value, name: &str) -> Read {
        self.met.departures += 1;
        let user = self.user_of(object)?;
        if let Some(believes) = &mut self.room_of(name)?.believes {
            believes.remove(&user);
        }
        Ok(())
    }

    fn read_diff(&mut self, object: &Value, name: &str) -> Read {
        self.met.diffs += 1;
        let count = self.number(object, "count")?;
        let users = |field| ids(object.get(field)).ok_or_else(|| self.garbled("a diff"));
        let (joined, left) = (users("joined")?, users("left")?);
        let stay = self.room_of(name)?;
        stay.count = Some(count);
        if let Some(believes) = &mut stay.believes {
            believes.retain(|user| !left.contains(user));
            believes.extend(joined);
        }
        Ok(())
    }

    fn read_joined(&self, object: &Value, name: &str) -> Result<Joined, Violation> {
        let own = object.get("own").and_then(Value::as_array);
        let own = own.into_iter().flatten().filter_map(Value::as_u64).collect();
        Ok(Joined {
            request: self.number(object, "id")?,
            handle: self.number(object, "handle")?,
            epoch: text(object, "epoch").unwrap_or_default().to_owned(),
            seq: self.number(object, "seq")?,
            recovered: object.get("recovered") == Some(&Value::Bool(true)),
            reason: text(object, "reason").map(str::to_owned),
            messages: self.read_items(object, name)?,
            own,
            presence: ids(object.get("presence")),
        })
    }

    fn read_gap(&self, object: &Value) -> Result<Gap, Violation> {
        let reason = match text(object, "reason") {
            Some("slow-consumer") => GapReason::SlowConsumer,
            Some("conflated") => GapReason::Conflated,
            other => return Err(self.garbled(&format!("a gap because of {other:?}"))),
        };
        let number = |field| self.number(object, field);
        Ok(Gap { from: number("from")?, to: number("to")?, count: number("count")?, reason })
    }

    fn read_items(&self, object: &Value, name: &str) -> Result<Vec<(u64, Sig)>, Violation> {
        let items = object.get("messages").and_then(Value::as_array);
        let items = items.ok_or_else(|| self.garbled("no messages"))?;
        items.iter().map(|item| self.read_item(item, name)).collect()
    }

    fn read_item(&self, item: &Value, name: &str) -> Result<(u64, Sig), Violation> {
        let fits = text(item, "type") == Some("room-message") && text(item, "room") == Some(name);
        hold(Law::Wire, fits, || format!("an item of {name}: {item}"))?;
        let content = text(item, "content").unwrap_or_default();
        let sig = match text(item, "encoding") {
            None => read_sig(DataKind::Text, content.as_bytes()),
            Some(_) => {
                let bytes = BASE64_STANDARD.decode(content);
                let bytes = bytes.map_err(|error| self.garbled(&error.to_string()))?;
                read_sig(DataKind::Binary, &bytes)
            }
        };
        Ok((self.number(item, "seq")?, sig.map_err(|what| self.garbled(&what))?))
    }

    fn read_records(&mut self, payload: &[u8]) -> Read {
        for record in binary::decode(payload) {
            let record = record.map_err(|bad| self.garbled(&bad.to_string()))?;
            self.met.records += 1;
            let words = String::from_utf8_lossy(record.payload).into_owned();
            let handle = record.handle.map(RoomHandle::to_wire);
            let (Some(handle), Some(seq)) = (handle, record.seq) else {
                return Err(self.garbled(&words));
            };
            let name = self.room_by_handle(handle)?;
            match record.op {
                Op::Error => return Err(self.garbled(&words)),
                Op::Ack => {
                    let ack = binary::ack_of(record.payload);
                    let (epoch, _) = ack.ok_or_else(|| self.garbled("an ack"))?;
                    let epoch = EpochText(epoch).to_string();
                    self.take_ack(&name, record.request_id, (seq, &epoch))?;
                }
                Op::Message => {
                    let sig = read_content(record.kind, record.payload);
                    let sig = sig.map_err(|what| self.garbled(&what))?;
                    self.take_message(&name, seq, sig)?;
                }
            }
        }
        Ok(())
    }

    /// Every request has one answer, and every answer its request.
    fn answered(&mut self, object: &Value, fits: impl FnOnce(Asked) -> bool) -> Read {
        let Some(id) = object.get("id").and_then(Value::as_u64) else { return Ok(()) };
        match self.waiting.remove(&id) {
            Some(asked) if fits(asked) => Ok(()),
            other => Err(self.garbled(&format!("an answer to {other:?}: {object}"))),
        }
    }

    fn user_of(&self, object: &Value) -> Result<String, Violation> {
        let user = object.get("user").and_then(|user| text(user, "id"));
        user.map(str::to_owned).ok_or_else(|| self.garbled("no user"))
    }

    fn number(&self, object: &Value, field: &str) -> Result<u64, Violation> {
        let number = object.get(field).and_then(Value::as_u64);
        number.ok_or_else(|| self.garbled(&format!("no {field}: {object}")))
    }

    pub(crate) fn garbled(&self, what: &str) -> Violation {
        Violation::garbled(self.id, what)
    }
}

/// A message of any kind as a binary member gets it.
fn read_content(kind: PayloadKind, payload: &[u8]) -> Result<Sig, String> {
    match kind {
        PayloadKind::Binary => read_sig(DataKind::Binary, payload),
        PayloadKind::Text => read_sig(DataKind::Text, payload),
        PayloadKind::Json => {
            let text: Result<String, _> = serde_json::from_slice(payload);
            read_sig(DataKind::Text, text.map_err(|error| error.to_string())?.as_bytes())
        }
    }
}

fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get(field)?.as_str()
}

/// The ids of a list of users.
fn ids(users: Option<&Value>) -> Option<BTreeSet<String>> {
    let users = users?.as_array()?;
    users.iter().map(|user| text(user, "id").map(str::to_owned)).collect()
}
