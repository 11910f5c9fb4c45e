//! Logins and the tools of the command line, end to end: a password buys a token that lets in, and
//! so does `fanfare token`.
//!
//! Not here: what the tools refuse (`cli`), how passwords are checked (unit tests of `side`).

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use e2e::broker::{Broker, fanfare};
use e2e::bystander::Bystander;
use e2e::http::{Answer, Http};
use e2e::native::Native;
use e2e::raw::Raw;
use e2e::scrape::Scraper;
use e2e::token::{API_KEY, KEY, bearer, joining, now, open, say_as_server, start, start_with_env};
use e2e::wait::until;
use fanfare::limits::LOGINS_PER_MINUTE_MAX;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Easy to find where it must not be.
const PASSWORD: &str = "open, wide-eyed sesame!";

/// What a run that goes well prints, given that input.
fn printed(command: &mut Command, input: &str) -> String {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
}

/// A file of settings with two users, `ada` and `root`, whose hashes `fanfare password` made.
fn write_settings(file: &Path) {
    let hash = || printed(&mut fanfare(&["password"]), &format!("{PASSWORD}\n"));
    let (ada, root) = (hash(), hash());
    assert_ne!(ada, root, "each has a salt of its own");
    let text = format!(
        "[auth]\nlogin = true\nlogin_ttl = \"1h\"\naudience = [\"chat\"]\nissuer = [\"us\"]\n\
         [[roles]]\nname = \"member\"\njoin = [\"chat:*\"]\npublish = true\n\
         [[users]]\nname = \"ada\"\npassword_hash = \"{ada}\"\n\
         [[users]]\nname = \"root\"\npassword_hash = \"{root}\"\nroles = [\"admin\"]\n"
    );
    fs::write(file, text).expect("a file");
}

fn log_in(broker: &Broker, body: &str) -> Answer {
    let mut http = Http::connect(broker.address());
    http.post_to("/v1/auth", "application/json", body.as_bytes())
}

/// The token that a name and the password buy.
fn bought(broker: &Broker, user: &str) -> String {
    let body = json!({ "user": user, "password": PASSWORD }).to_string();
    let answer = log_in(broker, &body);
    assert_eq!((answer.status, answer.field("cache-control")), (200, Some("no-store")));
    let told = answer.json();
    let roles = if user == "root" { "admin" } else { "member" };
    assert_eq!(told["user"], json!({ "id": user, "username": user, "roles": [roles] }));
    let left_s = told["expires"].as_u64().expect("a time").abs_diff(now().as_secs());
    assert!((3_500..=3_600).contains(&left_s), "{left_s}");
    told["token"].as_str().expect("a token").to_owned()
}

#[test]
fn a_password_buys_a_token_that_lets_in_and_nothing_else_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("fanfare.toml");
    write_settings(&file);
    let file = file.to_str().expect("a path that is text");
    let variables = [
        ("FANFARE_AUTH_HS256_KEY", KEY),
        ("FANFARE_AUTH_API_KEYS", API_KEY),
        ("FANFARE_CONFIG", file),
    ];
    let broker = start_with_env(&variables, &["--loops", "2", "--log-level", "trace"]);
    let (ada, root) = (bought(&broker, "ada"), bought(&broker, "root"));
    let mut ada = open(&broker, &ada);
    ada.join("chat:1");
    ada.say("chat:1", &json!("hello"));
    assert_eq!(ada.refused(&joining("news"))["code"], "forbidden");
    let mut root = open(&broker, &root);
    assert_eq!(root.ask(&json!({ "type": "broadcast", "content": "all" }))["type"], "ack");
    assert_eq!(ada.next_of("admin-message")["content"], "all");

    let wrong = "the user or the password is wrong";
    for (body, status, detail) in [
        (json!({ "user": "ada", "password": "open sesame" }).to_string(), 401, wrong),
        (json!({ "user": "eve", "password": PASSWORD }).to_string(), 401, wrong),
        (json!({ "user": "ada" }).to_string(), 400, "password is missing"),
        (json!({ "password": PASSWORD }).to_string(), 400, "user is missing"),
        (json!({ "user": "ada", "password": "" }).to_string(), 400, "password is missing"),
        (json!({ "user": 1, "password": PASSWORD }).to_string(), 400, ""),
        (format!("{{\"user\":\"ada\",\"user\":\"root\",\"password\":{PASSWORD:?}}}"), 400, ""),
        (String::new(), 400, ""),
    ] {
        let answer = log_in(&broker, &body);
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.detail().contains(detail), "{body}: {answer:?}");
        let challenge = answer.field("www-authenticate");
        assert_eq!(challenge, (status == 401).then_some("Bearer"), "{body}");
    }
    check_that_guessing_is_slowed_down(&broker);
    let log = broker.log();
    for secret in [PASSWORD, "open sesame", "$argon2id$", "eyJ", KEY, API_KEY] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    drop((ada, root));
    broker.stop();
}

/// One name may be tried so often, even rightly; others are not held back by it, nor is anyone who
/// is in.
fn check_that_guessing_is_slowed_down(broker: &Broker) {
    let field = bearer(&bought(broker, "ada"));
    let bystander =
        Bystander::over(Raw::open_with(broker.address(), "/raw/chat:bystander", &[&field]));
    let guess = |nth: u32| json!({ "user": "guessed", "password": nth.to_string() }).to_string();
    for nth in 0..LOGINS_PER_MINUTE_MAX {
        assert_eq!(log_in(broker, &guess(nth)).status, 401, "guess {nth}");
    }
    let answer = log_in(broker, &guess(99));
    assert_eq!(answer.status, 429, "{answer:?}");
    let wait_s: u64 = answer.field("retry-after").expect("a time").parse().expect("a number");
    assert!((1..=60).contains(&wait_s), "{wait_s}");
    bought(broker, "root");
    bystander.stop();
    let refused = Scraper::new(broker).metrics().value("logins_refused_total");
    assert!(refused > u64::from(LOGINS_PER_MINUTE_MAX), "{refused}");
}

#[test]
fn without_logins_there_is_no_such_path() {
    let broker = start(&["--loops", "1"]);
    let answer = log_in(&broker, &json!({ "user": "ada", "password": PASSWORD }).to_string());
    assert_eq!(answer.status, 404);
    assert!(answer.detail().contains("auth.login"), "{answer:?}");
    broker.stop();
}

#[test]
fn what_fanfare_token_prints_lets_in_for_what_it_was_asked_for() {
    let broker = start(&["--loops", "2"]);
    let mint = |args: &[&str]| {
        let mut command = fanfare(&[&["token", "--user", "ada"], args].concat());
        printed(command.env("FANFARE_AUTH_HS256_KEY", KEY), "")
    };
    let token = mint(&["--username", "Ada", "--join", "chat:*", "--publish", "chat:1"]);
    let mut ada = open(&broker, &token);
    let welcome: Value = serde_json::from_str(&ada.welcome).expect("JSON");
    assert_eq!(
        (&welcome["user"]["id"], &welcome["user"]["username"]),
        (&json!("ada"), &json!("Ada"))
    );
    ada.join("chat:1");
    ada.join("chat:2");
    ada.say("chat:1", &json!("hello"));
    let say = json!({ "type": "room-message", "room": "chat:2", "content": 1 });
    assert_eq!(ada.refused(&say)["code"], "forbidden");
    assert_eq!(ada.refused(&joining("news"))["code"], "forbidden");
    // The tools that come along take it from the environment, and fail without it.
    let url = format!("ws://{}", broker.address());
    let publish = |token: Option<&str>| {
        let mut command = fanfare(&["pub", "chat:1", "from afar", "--url", &url]);
        if let Some(token) = token {
            command.env("FANFARE_TOKEN", token);
        }
        command.output().expect("it runs").status.success()
    };
    assert!(publish(Some(&token)));
    assert_eq!(ada.next_of("room-message")["content"], "hello");
    assert_eq!(ada.next_of("room-message")["content"], "from afar");
    assert!(!publish(None) && !publish(Some("a.b.c")));
    // One that ends soon is over when it ends.
    let mut brief = open(&broker, &mint(&["--ttl", "1s", "--join", "chat:*"]));
    brief.join("chat:1");
    assert_eq!(brief.raw.close_code(), Some(4001));
    drop((ada, brief));
    broker.stop();
}

#[test]
fn a_secret_in_a_flag_works_with_a_warning_that_does_not_repeat_it() {
    let args = ["--loops", "1", "--auth-hs256-key", KEY, "--auth-api-keys", API_KEY];
    let broker = start_with_env(&[], &args);
    let mut native = open(&broker, &e2e::token::token("ada"));
    native.join("lobby");
    say_as_server(&broker, "lobby", &json!("hello"));
    assert_eq!(native.next_of("room-message")["content"], "hello");
    let warned = |setting: &str| {
        broker.log().lines().any(|line| line.contains("WARN") && line.contains(setting))
    };
    for setting in ["auth-hs256-key", "auth-api-keys"] {
        until("a warning", || warned(setting).then_some(()));
    }
    assert!(!broker.log().contains(KEY) && !broker.log().contains(API_KEY), "{}", broker.log());
    // Which is what it is about: everyone on this machine can read it there.
    let seen = fs::read(format!("/proc/{}/cmdline", broker.pid().as_raw_nonzero())).expect("flags");
    assert!(String::from_utf8_lossy(&seen).contains(KEY));
    let kept: Broker = start(&["--loops", "1"]);
    let seen = fs::read(format!("/proc/{}/cmdline", kept.pid().as_raw_nonzero())).expect("flags");
    assert!(!String::from_utf8_lossy(&seen).contains(KEY));
    drop::<Native>(native);
    broker.stop();
    kept.stop();
}
