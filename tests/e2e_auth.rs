//! Tokens at the door, end to end: what is forged comes in nowhere, what is granted is what may be
//! done, what ends is over, and none of it gets into the log.
//!
//! Not here: keys of each kind and the libraries of others (`e2e_keys`), revocations
//! (`e2e_revoke`), logins (`e2e_login`).

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;
#[path = "naive/forged.rs"]
mod forged;
#[expect(dead_code, reason = "what reads tokens is for `tokens.rs`")]
#[path = "naive/token.rs"]
mod naive;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::broker::Broker;
use e2e::http::{Expect, Http};
use e2e::native::{Came, Native, ask_to_open, seq};
use e2e::raw::{CLOSE, Raw, upgrade};
use e2e::scrape::Scraper;
use e2e::token::{
    API_KEY, KEY, bearer, claims, joining, now, open, say_as_server, sign, start, start_with_env,
    token, token_for,
};
use e2e::wait::until;
use fanfare::auth::{IssuedClaims, TokenAlg};
use fanfare::limits::TOKEN_BYTES_CEILING;
use forged::{Forged, Forger};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::thread::{self, JoinHandle};
use std::time::Duration;

// --- forged tokens ----------------------------------------------------------------------------

/// A broker with a key of each algorithm, those of `naive::keys`.
fn start_with_all_keys(args: &[&str]) -> Broker {
    let secret = str::from_utf8(naive::SECRET).expect("text");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tokens");
    let [rsa, p256, ed25519] =
        ["rsa", "p256", "ed25519"].map(|name| format!("{folder}/{name}.pub.pem"));
    let variables = [
        ("FANFARE_AUTH_HS256_KEY", secret),
        ("FANFARE_AUTH_HS384_KEY", secret),
        ("FANFARE_AUTH_HS512_KEY", secret),
        ("FANFARE_AUTH_RS256_KEY_FILE", &rsa),
        ("FANFARE_AUTH_ES256_KEY_FILE", &p256),
        ("FANFARE_AUTH_EDDSA_KEY_FILE", &ed25519),
    ];
    start_with_env(&variables, args)
}

fn now_s() -> u64 {
    now().as_secs()
}

/// Whether the value of a field can hold the token: else there is a way to show it in a URL alone.
fn fits_a_field(token: &str) -> bool {
    let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    is_plain && !token.is_empty() && token.trim() == token
}

fn percent_encoded(token: &str) -> String {
    token.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Shows each token in each place of a request, and says how many were refused.
fn show_all(broker: &Broker, forged: &[Forged]) -> u64 {
    let mut refused = 0;
    let mut refuse = |name: &str, place: &str, request: &[u8]| {
        let mut http = Http::connect(broker.address());
        http.send(request);
        let answer = http.answer(Expect::Body);
        let challenge = answer.field("www-authenticate");
        let expected = (401, Some("Bearer error=\"invalid_token\""));
        assert_eq!((answer.status, challenge), expected, "{name} in {place}: {answer:?}");
        refused += 1;
    };
    for (name, token, _) in forged {
        for path in ["/ws", "/raw/lobby"] {
            let target = format!("{path}?token={}", percent_encoded(token));
            if !token.is_empty() && target.len() < 4_096 {
                refuse(name, path, &upgrade(&target, "test", &[]));
            }
        }
        if !fits_a_field(token) || token.len() > TOKEN_BYTES_CEILING {
            continue;
        }
        let field = bearer(token);
        for path in ["/ws", "/raw/lobby"] {
            refuse(name, path, &upgrade(path, "test", &[&field]));
        }
        for path in ["/v1/rooms/lobby/messages", "/v1/broadcast", "/v1/revocations"] {
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n{field}\r\n\r\nhi"
            );
            refuse(name, path, request.as_bytes());
        }
    }
    refused
}

#[test]
fn a_forged_token_comes_in_nowhere_and_has_no_effect() {
    let broker = start_with_all_keys(&["--loops", "2"]);
    let forger = Forger { now_s: now_s() };
    let mut scraper = Scraper::new(&broker);
    let mut member = open(&broker, &forger.good(TokenAlg::EdDsa));
    member.join("lobby");
    let forged = forger.all();
    let refused = show_all(&broker, &forged);
    assert!(refused > 400, "{refused}");
    // And by a message.
    for (name, token, _) in &forged {
        let mut native = stranger(&broker);
        native.send(&json!({ "type": "auth", "token": token }));
        // What is no token in its form may be refused as a field, and is asked for again.
        let told = native.next();
        if told["type"] == "error" {
            assert_eq!(told["field"], "token", "{name}: {told}");
            continue;
        }
        let outcome = (&told["type"], &told["code"], native.came());
        let expected = (&json!("auth-failed"), &json!("unauthorized"), Came::Close(Some(4001)));
        assert_eq!(outcome, expected, "{name}: {told}");
    }
    assert_eq!(member.so_far(), [Value::Null; 0], "nothing was said, and nobody came");
    let metrics = scraper.metrics();
    assert!(metrics.value("tokens_refused_total") > refused, "those in messages count too");
    assert_eq!((metrics.value("tokens_accepted_total"), metrics.value("members")), (1, 1));
    for alg in TokenAlg::ALL {
        open(&broker, &forger.good(alg)).join("lobby");
    }
    drop(member);
    broker.stop();
}

#[test]
fn a_kid_leads_to_no_key_but_the_one_of_that_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("keys.json");
    let k = URL_SAFE_NO_PAD.encode(naive::SECRET);
    let key = |kid| json!({ "kty": "oct", "alg": "HS256", "kid": kid, "k": k });
    let set = json!({ "keys": [key("HS256"), key("other")] });
    fs::write(&file, set.to_string()).expect("a file");
    let file = file.to_str().expect("a path that is text");
    let broker = start_with_env(&[("FANFARE_AUTH_JWKS_FILE", file)], &["--loops", "1"]);
    let forger = Forger { now_s: now_s() };
    assert!(show_all(&broker, &forger.kids()) > 70);
    let known = naive::hs256(r#"{"alg":"HS256","kid":"HS256"}"#, forger.ada());
    open(&broker, &known).join("lobby");
    broker.stop();
}

/// A native connection that has said nothing yet, and is not greeted.
fn stranger(broker: &Broker) -> Native {
    let (http, answer) = ask_to_open(broker, &[]);
    assert_eq!(answer.status, 101, "{answer:?}");
    Native::over(http)
}

// --- grants -----------------------------------------------------------------------------------

/// Asks for a raw room with that token: the status, and why it is none of 101.
fn ask_for_room(broker: &Broker, room: &str, token: &str) -> (u16, String) {
    let mut http = Http::connect(broker.address());
    http.send(&upgrade(&format!("/raw/{room}"), "test", &[&bearer(token)]));
    let answer = http.answer(Expect::Body);
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

const JSON: &str = "Content-Type: application/json";

/// Posts with that token.
fn post(broker: &Broker, path: &str, token: &str) -> (u16, String) {
    let answer = Http::connect(broker.address()).post_with(path, &[&bearer(token), JSON], b"1");
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

#[test]
fn what_is_not_granted_is_refused_by_its_name_wherever_it_is_asked_for() {
    for loops in ["1", "2"] {
        let broker = start(&["--loops", loops]);
        say_as_server(&broker, "chat:3", &json!("there"));
        let rooms = json!({
            "join": ["chat:*"], "publish": ["chat:1"], "history": ["chat:1"],
            "presence": ["chat:1"], "create": ["chat:1", "chat:2"],
        });
        let token = token_for("ada", rooms);
        let mut ada = open(&broker, &token);
        for (request, missing) in [
            (joining("news"), "join in `news`"),
            (joining("chat:1:2"), "join in `chat:1:2`"),
            (joining("user:bob"), "join in `user:bob`"),
            (json!({ "type": "join-room", "room": "chat:3", "history": 9 }), "history in `chat:3`"),
            (
                json!({ "type": "join-room", "room": "chat:3", "presence": true }),
                "presence in `chat:3`",
            ),
            (json!({ "type": "create-room", "room": "news" }), "create in `news`"),
            (json!({ "type": "create-room", "room": "chat:4" }), "create in `chat:4`"),
            (json!({ "type": "get-room", "room": "news" }), "join in `news`"),
            (json!({ "type": "get-history", "room": "chat:3" }), "history in `chat:3`"),
            (json!({ "type": "broadcast", "content": 1 }), "admin"),
        ] {
            let error = ada.refused(&request);
            let message = error["message"].as_str().expect("a text");
            assert_eq!(error["code"], "forbidden", "{request}: {error}");
            assert!(message.contains(missing), "{request}: {error}");
        }
        assert_eq!(ada.refused(&joining("chat:4"))["code"], "no-such-room", "nor may it be made");
        for room in ["chat:1", "chat:2", "chat:3", "user:ada", "user:ada:inbox"] {
            ada.join(room);
        }
        ada.say("chat:1", &json!("hello"));
        for room in ["chat:2", "chat:3", "user:ada"] {
            let content = json!({ "type": "room-message", "room": room, "content": 1 });
            let typing = json!({ "type": "typing", "room": room, "isTyping": true });
            for request in [content, typing] {
                let error = ada.refused(&request);
                let missing = format!("publish in `{room}`");
                assert!(error["message"].as_str().expect("a text").contains(&missing), "{error}");
            }
        }
        check_other_ways(&broker, &token);
        let heard: Vec<Value> =
            ada.so_far().into_iter().map(|came| came["content"].clone()).collect();
        assert_eq!(heard, [json!("hello"), json!(1)], "what was refused has no effect");
        drop(ada);
        broker.stop();
    }
}

/// The same by raw rooms and over HTTP.
fn check_other_ways(broker: &Broker, token: &str) {
    let named = |grant: &str| format!("forbidden: {grant} is not granted");
    for (room, status, missing) in [
        ("chat:3", 101, ""),
        ("news", 403, "join in `news`"),
        ("user:bob", 403, "join in `user:bob`"),
    ] {
        let (got, body) = ask_for_room(broker, room, token);
        assert_eq!(got, status, "{room}: {body}");
        assert!(status == 101 || body.contains(&named(missing)), "{room}: {body}");
    }
    for (path, status, missing) in [
        ("/v1/rooms/chat:1/messages", 200, ""),
        ("/v1/rooms/chat:3/messages", 403, "publish in `chat:3`"),
        ("/v1/rooms/user:ada/messages", 403, "publish in `user:ada`"),
        ("/v1/rooms/chat:1/notifications", 403, "admin"),
        ("/v1/users/bob/messages", 403, "admin"),
        ("/v1/users/ada/notifications", 403, "admin"),
        ("/v1/broadcast", 403, "admin"),
        ("/v1/revocations", 403, "admin"),
    ] {
        let (got, body) = post(broker, path, token);
        assert_eq!(got, status, "{path}: {body}");
        assert!(status == 200 || body.contains(&named(missing)), "{path}: {body}");
    }
}

#[test]
fn roles_grant_what_the_configuration_says_and_add_up_with_the_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("fanfare.toml");
    let text = r#"
        [[roles]]
        name = "member"
        join = ["chat:*"]

        [[roles]]
        name = "press"
        join = ["news:**"]
        publish = true

        [[roles]]
        name = "chief"
        admin = true
    "#;
    fs::write(&file, text).expect("a file");
    let file = file.to_str().expect("a path that is text");
    let variables = [("FANFARE_AUTH_HS256_KEY", KEY), ("FANFARE_CONFIG", file)];
    let broker = start_with_env(&variables, &["--loops", "2"]);
    let with = |user: &str, roles: &[&str], rooms: Option<Value>| {
        let roles = Some(roles.iter().map(|role| (*role).to_owned()).collect());
        sign(&IssuedClaims { roles, rooms, ..claims(user) })
    };
    let mut member = open(&broker, &token("mia"));
    let mut press = open(&broker, &with("pat", &["press", "nobody-described"], None));
    let own = json!({ "join": ["own:*"], "publish": ["own:*"] });
    let mut both = open(&broker, &with("bea", &["press"], Some(own)));
    let mut chief = open(&broker, &with("cleo", &["chief"], None));
    let mut none = open(&broker, &with("noa", &[], None));
    assert_eq!(none.refused(&joining("chat:1"))["code"], "forbidden");
    none.join("user:noa");
    member.join("chat:1");
    assert_eq!(member.refused(&joining("news:a:b"))["code"], "forbidden");
    let say = |room: &str| json!({ "type": "room-message", "room": room, "content": 1 });
    assert_eq!(member.refused(&say("chat:1"))["code"], "forbidden");
    for one in [&mut press, &mut both] {
        one.join("news:a:b");
        one.say("news:a:b", &json!("extra"));
        assert_eq!(one.refused(&joining("chat:1"))["code"], "forbidden");
    }
    both.join("own:1");
    both.say("own:1", &json!("mine"));
    assert_eq!(press.refused(&joining("own:1"))["code"], "forbidden");
    // Who is an admin speaks to everyone, and to whom it likes.
    let everyone = json!({ "type": "broadcast", "content": "all" });
    assert_eq!(member.refused(&everyone)["code"], "forbidden");
    let ack = chief.ask(&everyone);
    assert_eq!(ack["type"], "ack", "{ack}");
    for one in [&mut member, &mut press, &mut both, &mut none] {
        assert_eq!(one.next_of("admin-message")["content"], "all");
    }
    let admin = with("cleo", &["chief"], None);
    assert_eq!(post(&broker, "/v1/users/mia/messages", &admin).0, 200);
    assert_eq!(member.next_of("direct-message")["content"], 1);
    drop((member, press, both, chief, none));
    broker.stop();
}

// --- the end of tokens ------------------------------------------------------------------------

#[test]
fn a_token_ends_under_load_and_nobody_else_notices() {
    const OTHERS: usize = 49;
    let broker = start(&["--loops", "2"]);
    let mut others: Vec<Native> =
        (0..OTHERS).map(|nth| open(&broker, &token(&format!("user-{nth}")))).collect();
    let exp = now_s() + 5;
    let short = |user: &str| sign(&IssuedClaims { exp, ..claims(user) });
    // One of them came in with a token as short, and has got another since.
    let mut refreshed = open(&broker, &short("refreshed"));
    let answer = refreshed.ask(&json!({ "type": "refresh", "token": token("refreshed") }));
    assert_eq!(answer["type"], "auth-success", "{answer}");
    others.push(refreshed);
    let mut ending = open(&broker, &short("ending"));
    let from: Vec<u64> = others.iter_mut().map(|one| seq(&one.join("load"))).collect();
    ending.join("load");
    let (address, own) = (broker.address(), bearer(&short("raw")));
    let raw = spawn(move || {
        let mut raw = Raw::open_with(address, "/raw/other", &[&own]);
        (raw.close_code(), now())
    });
    let ending = spawn(move || {
        // It answers the first that says something new.
        let mut last = Value::Null;
        loop {
            let text = match ending.came() {
                Came::Text(text) => text,
                Came::Binary(_) => continue,
                Came::Close(code) => return (code, now()),
            };
            let came: Value = serde_json::from_str(&text).expect("JSON");
            if came["content"].is_u64() && came["content"] != last {
                last = came["content"].clone();
                ending.send(&json!({ "type": "room-message", "room": "load", "content": "still" }));
            }
        }
    });
    let mut heard = vec![Vec::new(); others.len()];
    let mut said = 0_u64;
    while !(ending.is_finished() && raw.is_finished()) {
        said += 1;
        for one in &mut others {
            one.send(&json!({ "type": "room-message", "room": "load", "content": said }));
        }
        for (one, heard) in others.iter_mut().zip(&mut heard) {
            hear(one, heard, &json!(said), OTHERS + 1);
        }
    }
    for (what, thread) in [("native", ending), ("raw", raw)] {
        let (code, at) = thread.join().expect("a close frame came");
        let late = at.checked_sub(Duration::from_secs(exp)).expect("not before its end");
        eprintln!("{what}: {late:?} after its end, in round {said}");
        assert_eq!(code, Some(4001), "{what}");
        assert!(late < Duration::from_secs(1), "{what}: {late:?}");
    }
    say_as_server(&broker, "load", &json!("end"));
    let mut ends = BTreeSet::new();
    for ((one, heard), from) in others.iter_mut().zip(&mut heard).zip(from) {
        hear(one, heard, &json!("end"), 1);
        ends.insert(heard.last().copied());
        let first = heard.first().copied().expect("something");
        assert!(first >= from && heard.iter().copied().eq(first..first + heard.len() as u64));
        assert_eq!(one.ask(&json!({ "type": "ping" }))["type"], "pong");
    }
    assert_eq!(ends.len(), 1, "{ends:?}");
    let metrics = Scraper::new(&broker).metrics();
    assert_eq!((metrics.value("tokens_expired_total"), metrics.closed("unauthorized")), (2, 2));
    drop(others);
    broker.stop();
}

/// Runs it on a thread of its own.
fn spawn<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::Builder::new().name("client".to_owned()).spawn(run).expect("a thread")
}

/// Reads messages of rooms until that many said `content`, and keeps the numbers of all.
fn hear(one: &mut Native, heard: &mut Vec<u64>, content: &Value, mut count: usize) {
    while count > 0 {
        for message in one.next_messages(1) {
            heard.push(seq(&message));
            count -= usize::from(message["content"] == *content);
        }
    }
}

#[test]
fn who_says_nothing_is_sent_away_and_who_says_who_it_is_comes_in() {
    let broker = start(&["--loops", "2", "--auth-timeout", "2s"]);
    let mut silent = stranger(&broker);
    let mut early = stranger(&broker);
    assert_eq!(early.ask(&joining("lobby"))["code"], "unauthorized");
    let answer = early.ask(&json!({ "type": "auth", "token": token("ada") }));
    assert_eq!((&answer["type"], &answer["user"]["id"]), (&json!("auth-success"), &json!("ada")));
    assert_eq!(early.next()["type"], "welcome");
    early.join("lobby");
    assert_eq!(silent.came(), Came::Close(Some(4001)));
    // Everywhere else it is now or never.
    for target in ["/raw/lobby", "/raw/lobby?token="] {
        let mut http = Http::connect(broker.address());
        http.send(&upgrade(target, "test", &[]));
        assert_eq!(http.answer(Expect::Body).status, 401, "{target}");
    }
    assert_eq!(Http::connect(broker.address()).post("lobby", "text/plain", b"x").status, 401);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(Http::connect(broker.address()).get(path).status, 200, "{path}");
    }
    assert_eq!(early.ask(&json!({ "type": "ping" }))["type"], "pong");
    assert_eq!(Scraper::new(&broker).metrics().value("auth_timeouts_total"), 1);
    drop((early, silent));
    broker.stop();
}

// --- the log ----------------------------------------------------------------------------------

#[test]
fn neither_secrets_nor_what_strangers_write_get_into_the_log() {
    const MARK: &str = "evil-mark";
    const LINE_BYTES_MAX: usize = 512;
    for format in ["json", "pretty"] {
        let args = ["--loops", "2", "--log-format", format, "--log-level", "trace"];
        let broker = start(&args);
        let good = token("ada");
        open(&broker, &good).join("lobby");
        say_as_server(&broker, "lobby", &json!("hello"));
        let poison =
            ["\u{1b}[31m", "\r\n{\"level\":\"ERROR\"}", "\n", "\0", "\u{9b}1m", "\u{202e}"];
        for poison in poison {
            let claims = json!({ "sub": format!("{MARK}{poison}"), "exp": 1 }).to_string();
            let header = json!({ "alg": "HS256", "kid": format!("{MARK}{poison}") }).to_string();
            let expired = sign_any(&json!({ "alg": "HS256" }).to_string(), &claims);
            for text in [format!("{MARK}{poison}"), sign_any(&header, &claims), expired] {
                for path in ["/ws", "/raw/lobby"] {
                    let target = format!("{path}?token={}", percent_encoded(&text));
                    for field in ["User-Agent: MARK", "X-Api-Key: MARK", "Cookie: token=MARK"] {
                        let field = field.replace("MARK", MARK);
                        let mut http = Http::connect(broker.address());
                        http.send(&upgrade(&target, "test", &[&field]));
                        assert_eq!(http.answer(Expect::Body).status, 401);
                    }
                }
                let mut native = stranger(&broker);
                native.send(&json!({ "type": "auth", "token": text }));
                while native.raw.next().is_some_and(|frame| frame.first != CLOSE) {}
            }
        }
        let (refused, body) = post(&broker, "/v1/broadcast", &format!("{MARK}.{good}"));
        assert_eq!(refused, 401);
        assert!(!body.contains(MARK), "{body}");
        let told = || broker.log().lines().filter(|line| line.contains("token refused")).count();
        until("it to be told", || (told() > 0).then_some(()));
        let log = broker.log();
        let (_, signature) = good.rsplit_once('.').expect("three parts");
        for secret in [MARK, KEY, API_KEY, signature] {
            assert!(!log.contains(secret), "{format}: {secret} is in the log:\n{log}");
        }
        for line in log.lines() {
            assert!(line.len() < LINE_BYTES_MAX, "{format}: {line}");
            assert!(!line.contains(char::is_control), "{format}: {line:?}");
        }
        broker.stop();
    }
}

/// A token of these texts, signed with the broker's key.
fn sign_any(header: &str, claims: &str) -> String {
    let message = naive::message(header, claims);
    let key = EncodingKey::from_secret(KEY.as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("a signature");
    format!("{message}.{signature}")
}
