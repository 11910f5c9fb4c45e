//! Revocations, end to end: who is revoked is out on every loop, and does not come back by what was
//! revoked, while nobody else notices.
//!
//! Not here: what a body may say (`api`), the bound on revocations (`auth`).

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::Broker;
use e2e::http::{Answer, Expect, Http};
use e2e::native::{Came, Native, ask_to_open};
use e2e::raw::{CLOSE, PING, PONG, Raw, TEXT, upgrade};
use e2e::scrape::Scraper;
use e2e::token::{bearer, claims, now, post_as_server, say_as_server, sign, start, token};
use e2e::wait::Stopwatch;
use fanfare::auth::IssuedClaims;
use serde_json::{Value, json};
use std::time::Duration;

/// Within which whoever is revoked is to be out.
const PROMPT: Duration = Duration::from_secs(1);

/// A raw, a JSON and a binary connection with that token, in the room of all.
fn three(broker: &Broker, token: &str) -> Vec<Raw> {
    let field = bearer(token);
    let raw = Raw::open_with(broker.address(), "/raw/lobby", &[&field]);
    let natives = ["fanfare.v1.json", "fanfare.v1.bin"].map(|protocol| {
        let protocol = format!("Sec-WebSocket-Protocol: {protocol}");
        let mut native = Native::open_with(broker, &[&field, &protocol]);
        native.join("lobby");
        native.raw
    });
    [raw].into_iter().chain(natives).collect()
}

/// Whether it is open and answers.
fn is_served(raw: &mut Raw) -> bool {
    raw.send(PING, b"served?");
    loop {
        match raw.next() {
            Some(frame) if frame.first == PONG => return true,
            Some(frame) if frame.first != CLOSE => {}
            Some(_) | None => return false,
        }
    }
}

fn revoke(broker: &Broker, body: &Value) -> Answer {
    post_as_server(broker, "/v1/revocations", body)
}

/// Revokes, and checks that these connections and no others are closed for it.
fn check_closed(broker: &Broker, body: &Value, mut gone: Vec<Raw>) {
    let since = Stopwatch::start();
    let answer = revoke(broker, body);
    let expected = (200, json!({ "closed": gone.len() }));
    assert_eq!((answer.status, answer.json()), expected, "{body}");
    for raw in &mut gone {
        assert_eq!(raw.close_code(), Some(4001), "{body}");
    }
    let took = since.elapsed();
    eprintln!("{body}: {took:?}");
    assert!(took < PROMPT, "{body}: {took:?}");
    // Once is enough.
    assert_eq!(revoke(broker, body).json(), json!({ "closed": 0 }), "{body}");
}

/// Shows the token to each loop, in each place: nowhere does it let in.
fn check_refused(broker: &Broker, token: &str) {
    let field = bearer(token);
    for _ in 0..4 {
        for request in ["/ws", "/raw/lobby"].map(|path| upgrade(path, "test", &[&field])) {
            let mut http = Http::connect(broker.address());
            http.send(&request);
            let answer = http.answer(Expect::Body);
            assert_eq!(answer.status, 401, "{answer:?}");
            assert!(answer.detail().contains("revoked"), "{answer:?}");
        }
        let mut http = Http::connect(broker.address());
        let answer = http.post_with("/v1/rooms/lobby/messages", &[&field], b"again");
        assert_eq!(answer.status, 401, "{answer:?}");
        let (http, _) = ask_to_open(broker, &[]);
        let mut native = Native::over(http);
        native.send(&json!({ "type": "auth", "token": token }));
        assert_eq!(native.next()["type"], "auth-failed");
        assert_eq!(native.came(), Came::Close(Some(4001)));
    }
}

/// A token by that name, issued that many seconds from now.
fn token_named(user: &str, name: &str, issued_in_s: u64) -> String {
    let claims = claims(user);
    let iat = claims.iat + issued_in_s;
    sign(&IssuedClaims { jti: Some(name.to_owned()), iat, ..claims })
}

#[test]
fn a_user_who_is_revoked_is_out_everywhere_and_nobody_else_is() {
    for loops in ["1", "4"] {
        let broker = start(&["--loops", loops, "--accept", "round-robin"]);
        let (ada, bob) = (token("ada"), token("bob"));
        let gone = three(&broker, &ada);
        let mut others = three(&broker, &bob);
        let (waiting, _) = ask_to_open(&broker, &[]);
        check_closed(&broker, &json!({ "user": "ada" }), gone);
        check_refused(&broker, &ada);
        // Whoever has not said who they are yet, and whoever else there is, stays.
        let mut waiting = Native::over(waiting);
        let answer = waiting.ask(&json!({ "type": "auth", "token": bob }));
        assert_eq!(answer["type"], "auth-success", "{answer}");
        assert!(others.iter_mut().all(is_served));
        say_as_server(&broker, "lobby", &json!("on we go"));
        let came = std::iter::from_fn(|| others[0].next()).find(|frame| frame.first == TEXT);
        assert_eq!(came.expect("a message").payload, b"on we go");
        // A token that was issued later lets the user back in.
        let mut back = three(&broker, &token_named("ada", "later", 5));
        assert!(back.iter_mut().all(is_served));
        let metrics = Scraper::new(&broker).metrics();
        assert_eq!(metrics.value("tokens_revoked_total"), 3);
        assert_eq!(metrics.closed("unauthorized"), 3 + 4, "those who said `auth` too");
        assert!(metrics.value("revocations") >= 1);
        drop((others, waiting, back));
        broker.stop();
    }
}

#[test]
fn one_token_is_revoked_by_its_name_and_others_of_its_user_are_not() {
    for loops in ["1", "4"] {
        let broker = start(&["--loops", loops, "--accept", "round-robin"]);
        let [phone, laptop] = ["phone", "laptop"].map(|name| token_named("ada", name, 0));
        let (gone, mut others) = (three(&broker, &phone), three(&broker, &laptop));
        check_closed(&broker, &json!({ "token": "phone" }), gone);
        check_refused(&broker, &phone);
        assert!(others.iter_mut().all(is_served));
        others.extend(three(&broker, &laptop));
        assert!(others.iter_mut().all(is_served));
        drop(others);
        broker.stop();
    }
}

#[test]
fn what_was_issued_before_a_time_is_revoked_for_one_or_for_all() {
    for loops in ["1", "4"] {
        let broker = start(&["--loops", loops, "--accept", "round-robin"]);
        let issued_s = now().as_secs();
        let in_ten = token_named("ada", "in-ten", 10);
        let (ada, bob) = (token("ada"), token("bob"));
        let mut gone = three(&broker, &ada);
        let (bobs, mut newer) = (three(&broker, &bob), three(&broker, &in_ten));
        // Nobody's is that old.
        let old = json!({ "issuedBefore": issued_s - 60 });
        assert_eq!(revoke(&broker, &old).json(), json!({ "closed": 0 }));
        let body = json!({ "user": "ada", "issuedBefore": issued_s + 5 });
        check_closed(&broker, &body, std::mem::take(&mut gone));
        check_refused(&broker, &ada);
        let bodies = json!({ "issuedBefore": issued_s + 5 });
        check_closed(&broker, &bodies, bobs);
        check_refused(&broker, &bob);
        assert!(newer.iter_mut().all(is_served), "those are from later");
        newer.extend(three(&broker, &token_named("bob", "new", 10)));
        assert!(newer.iter_mut().all(is_served));
        drop(newer);
        broker.stop();
    }
}

#[test]
fn admins_may_revoke_and_what_means_nothing_is_refused() {
    let broker = start(&["--loops", "2"]);
    let roles = Some(vec!["admin".to_owned()]);
    let admin = sign(&IssuedClaims { roles, ..claims("root") });
    let (gone, mut others) = (three(&broker, &token("ada")), three(&broker, &token("bob")));
    let post = |token: &str, body: &[u8]| {
        let mut http = Http::connect(broker.address());
        let answer = http.post_with("/v1/revocations", &[&bearer(token)], body);
        (answer.status, answer.body)
    };
    for body in
        ["", "{}", "[]", "{\"user\":1}", "{\"user\":\"ada\",\"token\":\"x\"}", "{\"jti\":\"x\"}"]
    {
        assert_eq!(post(&admin, body.as_bytes()).0, 400, "{body}");
    }
    assert_eq!(post(&token("bob"), b"{\"user\":\"ada\"}").0, 403);
    assert_eq!(post(&admin, b"{\"user\":\"ada\"}"), (200, b"{\"closed\":3}".to_vec()));
    for mut raw in gone {
        assert_eq!(raw.close_code(), Some(4001));
    }
    assert!(others.iter_mut().all(is_served));
    // Whoever revokes may revoke itself.
    assert_eq!(post(&admin, b"{\"user\":\"root\"}").0, 200);
    assert_eq!(post(&admin, b"{\"user\":\"bob\"}").0, 401);
    assert!(others.iter_mut().all(is_served));
    drop(others);
    broker.stop();
}
