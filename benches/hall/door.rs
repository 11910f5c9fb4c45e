//! A hall whose door wants tokens: what they, their grants and a wrong secret cost.
//!
//! Not here: forged tokens, which cost no more than good ones. Invariant: each token is another
//! user's and is signed before anything is counted.

use super::hall::Hall;
use fanfare::auth::{Authority, IssuedClaims, Secret, Signer, TokenAlg, TokenKeys, Trust};
use fanfare::broker::ConnKey;
use fanfare::engine::{Admission, Settings};
use serde_json::json;
use std::fmt;
use std::sync::Arc;

const SECRET: &[u8; 32] = b"a secret that nobody else has 12";

/// Keys of servers, as long as what `head -c 32 /dev/urandom | base64` prints.
const API_KEYS: [&[u8; 44]; 3] = [
    b"9yYp1zQ8a0m4Vd7KcR2tXw5nLhJ3uGfEoSiBqDxTvPA=",
    b"Zk3TqW8rN1xYb6VmC0sHjP4uLdE7gKaRfOyIwQ2tUcM=",
    b"u5LhXo2vJp9SaQy7BnKfRd3wTzGi0MeEcV1xHqYtN8k=",
];

/// Users that come in turns.
const USERS: usize = 128;

/// Where a secret that is tried differs from the real one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    First,
    Middle,
    Last,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first",
            Self::Middle => "middle",
            Self::Last => "last",
        })
    }
}

impl Place {
    pub(crate) const ALL: [Self; 3] = [Self::First, Self::Middle, Self::Last];

    /// The second of the keys but for one byte.
    pub(crate) fn wrong(self) -> [u8; 44] {
        let mut key = *API_KEYS[1];
        let at = match self {
            Self::First => 0,
            Self::Middle => key.len() / 2,
            Self::Last => key.len() - 2, // The last is the same in all of them.
        };
        key[at] ^= 1;
        key
    }
}

/// The second of the keys, as the broker keeps it.
pub(crate) fn secret() -> Secret {
    Secret::new(*API_KEYS[1])
}

/// Who decides who comes in.
pub(crate) fn authority() -> Authority {
    let mut keys = TokenKeys::default();
    keys.add_hmac(TokenAlg::Hs256, None, &Secret::new(*SECRET)).expect("a long secret");
    let api_keys = API_KEYS.map(|key| Secret::new(*key)).into();
    Authority { keys: Some(keys), api_keys, ..Authority::default() }
}

/// A token of that user. It grants rooms by so many patterns, of which the last fits every room of
/// one segment.
pub(crate) fn token(user: usize, patterns: usize) -> String {
    let signer = Signer::from_secret(TokenAlg::Hs256, None, &Secret::new(*SECRET));
    let others = (1..patterns).map(|nth| format!("room-{nth}:*"));
    let join: Vec<String> = others.chain(["*".to_owned()]).collect();
    let claims = IssuedClaims {
        user: format!("user-{user}"),
        rooms: Some(json!({"join": join, "publish": true})),
        exp: 1 << 40,
        ..IssuedClaims::default()
    };
    signer.expect("a long secret").sign(&claims).expect("a short token")
}

/// A hall with such a door.
pub(crate) struct Guarded {
    hall: Hall,
    tokens: Vec<String>,
    came: usize,
    native: Option<ConnKey>,
}

impl Guarded {
    fn of(hall: Hall, tokens: Vec<String>) -> Self {
        Self { hall, tokens, came: 0, native: None }
    }

    fn settings() -> Settings {
        Settings { authority: Arc::new(authority()), ..Settings::default() }
    }

    /// Nobody is there.
    pub(crate) fn empty() -> Self {
        let tokens = (0..USERS).map(|user| token(user, 1)).collect();
        let mut hall = Self::of(Hall::of(Self::settings()), tokens);
        let welcome = Hall::of(Settings::default()).visit();
        assert_eq!(hall.visit(), welcome, "who shows a token is let in like everyone");
        hall
    }

    /// Fails unless a right key is answered otherwise than a wrong one.
    pub(crate) fn knows_its_keys(&mut self) {
        let right = self.knock(API_KEYS[1]);
        assert_ne!(self.knock(&Place::First.wrong()), right, "a wrong key is refused");
    }

    /// A room of so many members, each with a token of its own.
    pub(crate) fn filled(members: usize, payload_bytes: usize) -> Self {
        let shown = |nth| Some(token(nth, 1));
        Self::of(Hall::gathered(Self::settings(), members, payload_bytes, shown), Vec::new())
    }

    /// A native member whose token has so many patterns: it publishes strings of so many bytes.
    pub(crate) fn native(patterns: usize, content_bytes: usize) -> Self {
        let mut hall = Hall::of(Self::settings());
        let key = hall.open("/ws", Some(&token(0, patterns)));
        hall.deliver();
        if content_bytes > 0 {
            hall.publish_json_as(key, content_bytes);
        }
        Self { native: Some(key), ..Self::of(hall, Vec::new()) }
    }

    /// So many messages go out to everybody.
    pub(crate) fn tick(&mut self, messages: usize) -> usize {
        self.hall.tick(messages)
    }

    /// The next user comes, joins a room and goes.
    pub(crate) fn visit(&mut self) -> usize {
        let token = &self.tokens[self.came % self.tokens.len()];
        self.came += 1;
        self.hall.visit_showing(Some(token))
    }

    /// The native member joins a room and leaves it.
    pub(crate) fn errand(&mut self) -> usize {
        let Some(key) = self.native else { return 0 };
        self.hall.send(key, r#"{"type":"join-room","room":"lobby","id":1}"#);
        let bytes = self.hall.deliver();
        self.hall.send(key, r#"{"type":"leave-room","room":"lobby","id":2}"#);
        bytes + self.hall.deliver()
    }

    /// A server comes with a key, asks for something and goes.
    pub(crate) fn knock(&mut self, api_key: &[u8; 44]) -> usize {
        let hall = &mut self.hall;
        let now = hall.now;
        let key = hall.shard.handle_open(Admission::Served, Trust::Stranger, None, now);
        let mut request = b"POST /v1/rooms/a/messages HTTP/1.1\r\nHost: h\r\n\
            Content-Length: 2\r\nConnection: close\r\nX-API-Key: "
            .to_vec();
        request.extend_from_slice(api_key);
        request.extend_from_slice(b"\r\n\r\nhi");
        hall.shard.handle_bytes(key, &mut request, now);
        let bytes = hall.deliver();
        assert!(bytes > 0, "it was answered");
        hall.shard.handle_eof(key, now);
        bytes + hall.deliver()
    }
}
