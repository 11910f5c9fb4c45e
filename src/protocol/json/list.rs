//! Pages of lists: rooms, members, users who are online.

use super::RequestId;
use super::write::Object;
use crate::broker::{Status, User};

/// A user in a list of users.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Entry<'a> {
    /// Who.
    pub user: &'a User,
    /// Whether it is there.
    pub status: Status,
    /// Since when, in Unix milliseconds.
    pub since_ms: u64,
    /// What else it says of itself, as JSON.
    pub info: Option<&'a str>,
}

/// Appends an entry of a list of users.
pub fn push_entry(out: &mut Vec<u8>, entry: &Entry<'_>) {
    let object = Object::bare(out)
        .text("id", entry.user.id())
        .text("username", entry.user.username())
        .text("status", entry.status.word())
        .number("since", entry.since_ms);
    match entry.info {
        Some(info) => object.raw("info", info.as_bytes()).close(),
        None => object.close(),
    }
}

/// Appends a page of rooms, each with its count of members.
pub fn push_rooms_list<'a>(
    out: &mut Vec<u8>,
    id: Option<RequestId<'_>>,
    rooms: impl IntoIterator<Item = (&'a str, u32)>,
    more: bool,
) {
    let push = |out: &mut Vec<u8>, (room, members): (&str, u32)| {
        Object::bare(out).text("room", room).number("members", members.into()).close();
    };
    Object::open(out, "rooms-list").id(id).list("rooms", rooms, push).flag("more", more).close();
}

/// Appends a page of a room's members, each as [`push_entry`] wrote it.
pub fn push_members_list<T: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    id: Option<RequestId<'_>>,
    room: &str,
    entries: impl IntoIterator<Item = T>,
    more: bool,
) {
    Object::open(out, "members-list")
        .id(id)
        .text("room", room)
        .list("members", entries, |out, entry| out.extend_from_slice(entry.as_ref()))
        .flag("more", more)
        .close();
}

/// Appends a page of the users who are online, each as [`push_entry`] wrote it.
pub fn push_online_users<T: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    id: Option<RequestId<'_>>,
    entries: impl IntoIterator<Item = T>,
    more: bool,
) {
    Object::open(out, "online-users")
        .id(id)
        .list("users", entries, |out, entry| out.extend_from_slice(entry.as_ref()))
        .flag("more", more)
        .close();
}

#[cfg(test)]
mod tests {
    use super::super::written;
    use super::*;
    use crate::broker::Role;

    #[test]
    fn pages_say_whether_there_is_more() {
        let id = Some(RequestId::of_json("1"));
        assert_eq!(
            written(|out| push_rooms_list(out, id, [("a", 1), ("b\"", 2)], true)),
            concat!(
                r#"{"type":"rooms-list","id":1,"rooms":[{"room":"a","members":1},"#,
                r#"{"room":"b\"","members":2}],"more":true}"#
            )
        );
        assert_eq!(
            written(|out| push_members_list(out, None, "a", ["{}", "{}"], false)),
            r#"{"type":"members-list","room":"a","members":[{},{}],"more":false}"#
        );
        assert_eq!(
            written(|out| push_online_users(out, None, [b"{}"], false)),
            r#"{"type":"online-users","users":[{}],"more":false}"#
        );
    }

    #[test]
    fn an_entry_has_info_only_if_there_is_some() {
        let user = User::new("42", "Ada", Role::Member).expect("a user");
        let entry = Entry { user: &user, status: Status::Away, since_ms: 5, info: None };
        let bare = r#"{"id":"42","username":"Ada","status":"away","since":5"#;
        assert_eq!(written(|out| push_entry(out, &entry)), format!("{bare}}}"));
        let entry = Entry { info: Some("[1]"), ..entry };
        assert_eq!(written(|out| push_entry(out, &entry)), format!(r#"{bare},"info":[1]}}"#));
    }
}
