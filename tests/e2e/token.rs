//! Tokens as an application makes them, by the clock of this machine, and a broker that wants them.
//!
//! Not here: tokens that are forged (`naive/forged.rs`). Invariant: what is made here is let in,
//! unless a test says otherwise.

use super::broker::{Broker, fanfare};
use super::http::{Answer, Http};
use super::native::Native;
use fanfare::auth::{IssuedClaims, Secret, Signer, TokenAlg};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What tokens are signed with: easy to find where it must not be.
pub(crate) const KEY: &str = "a-secret-that-nobody-may-see-0123456789";

/// A server's key: the same.
pub(crate) const API_KEY: &str = "a-key-that-nobody-may-see-0123456789";

/// How long tokens hold where that does not matter.
const LIFE_S: u64 = 3_600;

/// The time since 1970.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970")
}

/// A token of that user, a member.
pub(crate) fn token(user: &str) -> String {
    sign(&claims(user))
}

/// A token of that user with these grants.
pub(crate) fn token_for(user: &str, rooms: Value) -> String {
    sign(&IssuedClaims { rooms: Some(rooms), ..claims(user) })
}

/// What a member's token says.
pub(crate) fn claims(user: &str) -> IssuedClaims {
    let iat = now().as_secs();
    let (user, jti) = (user.to_owned(), Some(format!("token-of-{user}")));
    IssuedClaims { user, jti, iat, exp: iat + LIFE_S, ..IssuedClaims::default() }
}

/// Signs with [`KEY`].
pub(crate) fn sign(claims: &IssuedClaims) -> String {
    let signer = Signer::from_secret(TokenAlg::Hs256, None, &Secret::new(KEY.as_bytes()));
    signer.expect("a key").sign(claims).expect("a token")
}

/// The field that shows it.
pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// A broker that wants tokens signed with [`KEY`], and knows a server by [`API_KEY`].
pub(crate) fn start(args: &[&str]) -> Broker {
    start_with_env(&[("FANFARE_AUTH_HS256_KEY", KEY), ("FANFARE_AUTH_API_KEYS", API_KEY)], args)
}

/// A broker with these variables and arguments.
pub(crate) fn start_with_env(variables: &[(&str, &str)], args: &[&str]) -> Broker {
    let mut all = vec!["serve", "--listen", "127.0.0.1:0", "--no-pin", "--drain-window", "0s"];
    all.extend(args);
    let mut command = fanfare(&all);
    command.envs(variables.iter().copied());
    Broker::run(command, 1)
}

/// Connects to `/ws` with that token.
pub(crate) fn open(broker: &Broker, token: &str) -> Native {
    Native::open_with(broker, &[&bearer(token)])
}

/// Posts as a server, on a connection of its own.
pub(crate) fn post_as_server(broker: &Broker, path: &str, body: &Value) -> Answer {
    let key = format!("X-API-Key: {API_KEY}");
    let fields = [key.as_str(), "Content-Type: application/json"];
    Http::connect(broker.address()).post_with(path, &fields, body.to_string().as_bytes())
}

/// Says something in a room, as a server.
pub(crate) fn say_as_server(broker: &Broker, room: &str, content: &Value) {
    let answer = post_as_server(broker, &format!("/v1/rooms/{room}/messages"), content);
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// A request that joins a room.
pub(crate) fn joining(room: &str) -> Value {
    json!({ "type": "join-room", "room": room })
}
