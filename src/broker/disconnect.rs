//! Why we end a connection. One list for all protocols; each maps it to its own close codes.

/// Our decision to end a connection, and its reason: metric label, log field and close code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disconnect {
    /// The client closed, or everything it asked for was done.
    Normal,
    /// This process is shutting down.
    Draining,
    /// The client broke RFC 6455.
    Protocol,
    /// A kind of data that the route does not take.
    WrongData,
    /// Bad UTF-8 in text or in a close reason, or a compressed message that is broken.
    BadPayload,
    /// Behaviour that no honest client shows: endless empty fragments, a room that is not allowed.
    Policy,
    /// No valid token.
    Unauthorized,
    /// Too fast, after warnings.
    RateLimited,
    /// A message larger than the limit.
    TooBig,
    /// A bug of ours.
    Internal,
    /// No room left: connections, rooms or memory.
    OverCapacity,
    /// The outbox was full and the room's policy is to disconnect.
    SlowConsumer,
    /// Pings were not answered.
    NoPong,
    /// Another connection took up its session.
    Superseded,
    /// The handshake or a request did not arrive in time.
    RequestTimeout,
    /// The peer did not finish the close handshake in time.
    CloseTimeout,
    /// The HTTP exchange was refused or complete; no WebSocket was involved.
    Http,
    /// The socket failed or the peer vanished without a close.
    Io,
}

impl Disconnect {
    /// Every reason, in the order of [`Self::index`].
    pub const ALL: [Self; 18] = [
        Self::Normal,
        Self::Draining,
        Self::Protocol,
        Self::WrongData,
        Self::BadPayload,
        Self::Policy,
        Self::Unauthorized,
        Self::RateLimited,
        Self::TooBig,
        Self::Internal,
        Self::OverCapacity,
        Self::SlowConsumer,
        Self::NoPong,
        Self::Superseded,
        Self::RequestTimeout,
        Self::CloseTimeout,
        Self::Http,
        Self::Io,
    ];

    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Place in a table with one entry per reason.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Stable word for metric labels and log fields.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Draining => "draining",
            Self::Protocol => "protocol",
            Self::WrongData => "wrong-data",
            Self::BadPayload => "bad-payload",
            Self::Policy => "policy",
            Self::Unauthorized => "unauthorized",
            Self::RateLimited => "rate-limited",
            Self::TooBig => "too-big",
            Self::Internal => "internal",
            Self::OverCapacity => "over-capacity",
            Self::SlowConsumer => "slow-consumer",
            Self::NoPong => "no-pong",
            Self::Superseded => "superseded",
            Self::RequestTimeout => "request-timeout",
            Self::CloseTimeout => "close-timeout",
            Self::Http => "http",
            Self::Io => "io",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_every_reason_at_its_index() {
        for (index, reason) in Disconnect::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index, "{}", reason.label());
        }
    }
}
