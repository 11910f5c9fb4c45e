//! Which path leads where, and what may be done there.
//!
//! Not here: whether a route is switched on, and who may use it. Invariant: a path is matched as
//! sent, so that an escaped slash is part of a room's name and never of the route.

use super::Method;

/// Where a path leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route<'a> {
    /// `/raw/{room}`: a WebSocket that is a member of one room.
    Raw {
        /// The room's name, still percent-encoded; never empty.
        room: &'a str,
    },
    /// `/ws`: a WebSocket that speaks the native protocol.
    Native,
    /// `/echo`: a WebSocket that gets back what it sends.
    Echo,
    /// `/v1/rooms/{room}/messages`: publishing over HTTP.
    Messages {
        /// The room's name, still percent-encoded; never empty.
        room: &'a str,
    },
    /// `/v1/rooms/{room}/notifications`: a notification to a room's native members.
    RoomNotifications {
        /// The room's name, still percent-encoded; never empty.
        room: &'a str,
    },
    /// `/v1/users/{user}/messages`: a message to all connections of a user.
    UserMessages {
        /// The user's id, still percent-encoded; never empty.
        user: &'a str,
    },
    /// `/v1/users/{user}/notifications`: a notification to all connections of a user.
    UserNotifications {
        /// The user's id, still percent-encoded; never empty.
        user: &'a str,
    },
    /// `/v1/broadcast`: a message to every native connection.
    Broadcast,
    /// `/v1/auth`: a token for a name and a password.
    Login,
    /// `/v1/revocations`: tokens are not to be believed any more.
    Revocations,
    /// `/healthz`: whether the broker lives.
    Healthz,
    /// `/readyz`: whether it takes connections.
    Readyz,
    /// `/metrics`: its counters.
    Metrics,
    /// Nowhere.
    Unknown,
}

/// Finds the route of a path, as [`super::Head::path`] has it.
pub fn route(path: &str) -> Route<'_> {
    match path {
        "/ws" => Route::Native,
        "/echo" => Route::Echo,
        "/v1/broadcast" => Route::Broadcast,
        "/v1/auth" => Route::Login,
        "/v1/revocations" => Route::Revocations,
        "/healthz" => Route::Healthz,
        "/readyz" => Route::Readyz,
        "/metrics" => Route::Metrics,
        other => named_route(other).unwrap_or(Route::Unknown),
    }
}

fn named_route(path: &str) -> Option<Route<'_>> {
    let segment = |name: &&str| !name.is_empty() && !name.contains('/');
    if let Some(room) = path.strip_prefix("/raw/").filter(segment) {
        return Some(Route::Raw { room });
    }
    if let Some(rest) = path.strip_prefix("/v1/users/") {
        if let Some(user) = rest.strip_suffix("/messages").filter(segment) {
            return Some(Route::UserMessages { user });
        }
        let user = rest.strip_suffix("/notifications").filter(segment)?;
        return Some(Route::UserNotifications { user });
    }
    let rest = path.strip_prefix("/v1/rooms/")?;
    if let Some(room) = rest.strip_suffix("/messages").filter(segment) {
        return Some(Route::Messages { room });
    }
    let room = rest.strip_suffix("/notifications").filter(segment)?;
    Some(Route::RoomNotifications { room })
}

impl Route<'_> {
    /// The methods that make sense here; any other is answered 405, or 404 where there are none.
    pub const fn allowed_methods(&self) -> &'static [Method] {
        match self {
            Self::Raw { .. } | Self::Native | Self::Echo => &[Method::Get],
            Self::Messages { .. }
            | Self::RoomNotifications { .. }
            | Self::UserMessages { .. }
            | Self::UserNotifications { .. }
            | Self::Broadcast
            | Self::Login
            | Self::Revocations => &[Method::Post],
            Self::Healthz | Self::Readyz | Self::Metrics => &[Method::Get, Method::Head],
            Self::Unknown => &[],
        }
    }

    /// The same as the value of an `Allow` field.
    pub const fn allow_field(&self) -> &'static str {
        match self {
            Self::Raw { .. } | Self::Native | Self::Echo => "GET",
            Self::Messages { .. }
            | Self::RoomNotifications { .. }
            | Self::UserMessages { .. }
            | Self::UserNotifications { .. }
            | Self::Broadcast
            | Self::Login
            | Self::Revocations => "POST",
            Self::Healthz | Self::Readyz | Self::Metrics => "GET, HEAD",
            Self::Unknown => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_they_say() {
        for (path, wanted) in [
            ("/raw/lobby", Route::Raw { room: "lobby" }),
            ("/raw/a%2Fb", Route::Raw { room: "a%2Fb" }),
            ("/raw/..", Route::Raw { room: ".." }),
            ("/ws", Route::Native),
            ("/echo", Route::Echo),
            ("/v1/rooms/chat:1/messages", Route::Messages { room: "chat:1" }),
            ("/v1/rooms/messages/messages", Route::Messages { room: "messages" }),
            ("/v1/rooms/a/notifications", Route::RoomNotifications { room: "a" }),
            ("/v1/users/42/messages", Route::UserMessages { user: "42" }),
            ("/v1/users/a%2Fb/notifications", Route::UserNotifications { user: "a%2Fb" }),
            ("/v1/broadcast", Route::Broadcast),
            ("/v1/auth", Route::Login),
            ("/v1/revocations", Route::Revocations),
            ("/healthz", Route::Healthz),
            ("/readyz", Route::Readyz),
            ("/metrics", Route::Metrics),
        ] {
            assert_eq!(route(path), wanted, "{path}");
        }
        for path in [
            "",
            "/",
            "*",
            "/raw",
            "/raw/",
            "/raw/a/b",
            "/raw/a/",
            "/WS",
            "/ws/",
            "/ws/lobby",
            "/wss",
            "/Echo",
            "/echo/",
            "//echo",
            "/v1/rooms//messages",
            "/v1/rooms/messages",
            "/v1/rooms/a/b/messages",
            "/v1/rooms/a/messages/",
            "/v1/rooms/a",
            "/v1/rooms//notifications",
            "/v1/users/a",
            "/v1/users//messages",
            "/v1/users/a/b/messages",
            "/v1/users/a/rooms",
            "/v1/broadcast/",
            "/v1/auth/",
            "/v1/revocations/1",
            "/healthz/",
            "/%65cho",
        ] {
            assert_eq!(route(path), Route::Unknown, "{path}");
        }
    }

    #[test]
    fn the_allow_field_lists_the_allowed_methods() {
        let paths =
            ["/raw/a", "/ws", "/echo", "/v1/rooms/a/messages", "/healthz", "/readyz", "/metrics"];
        let people = ["/v1/users/a/messages", "/v1/users/a/notifications", "/v1/broadcast"];
        let people = people.into_iter().chain(["/v1/rooms/a/notifications", "/"]);
        let people = people.chain(["/v1/auth", "/v1/revocations"]);
        for path in paths.into_iter().chain(people) {
            let names: Vec<_> =
                route(path).allowed_methods().iter().map(|method| method.name()).collect();
            assert_eq!(names.join(", "), route(path).allow_field(), "{path}");
        }
    }
}
