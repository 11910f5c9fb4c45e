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
        "/healthz" => Route::Healthz,
        "/readyz" => Route::Readyz,
        "/metrics" => Route::Metrics,
        other => room_route(other).unwrap_or(Route::Unknown),
    }
}

fn room_route(path: &str) -> Option<Route<'_>> {
    let segment = |room: &&str| !room.is_empty() && !room.contains('/');
    if let Some(room) = path.strip_prefix("/raw/").filter(segment) {
        return Some(Route::Raw { room });
    }
    let room = path.strip_prefix("/v1/rooms/")?.strip_suffix("/messages").filter(segment)?;
    Some(Route::Messages { room })
}

impl Route<'_> {
    /// The methods that make sense here; any other is answered 405, or 404 where there are none.
    pub const fn allowed_methods(&self) -> &'static [Method] {
        match self {
            Self::Raw { .. } | Self::Native | Self::Echo => &[Method::Get],
            Self::Messages { .. } => &[Method::Post],
            Self::Healthz | Self::Readyz | Self::Metrics => &[Method::Get, Method::Head],
            Self::Unknown => &[],
        }
    }

    /// The same as the value of an `Allow` field.
    pub const fn allow_field(&self) -> &'static str {
        match self {
            Self::Raw { .. } | Self::Native | Self::Echo => "GET",
            Self::Messages { .. } => "POST",
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
        for path in paths.into_iter().chain(["/"]) {
            let names: Vec<_> =
                route(path).allowed_methods().iter().map(|method| method.name()).collect();
            assert_eq!(names.join(", "), route(path).allow_field(), "{path}");
        }
    }
}
