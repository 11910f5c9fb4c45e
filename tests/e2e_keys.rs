//! Keys of each kind, and the tokens and clients of others, end to end: what their libraries sign
//! lets in what their clients open, with keys from files, from the environment and from a URL.
//!
//! Not here: forged tokens (`e2e_auth`), what is wrong with keys (`cli`, unit tests of `side`).

#[expect(dead_code, reason = "each end-to-end test uses its part")]
#[path = "e2e/mod.rs"]
mod e2e;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::broker::Broker;
use e2e::native::ask_to_open;
use e2e::token::{bearer, claims, now, open, start, start_with_env, token};
use e2e::wait::until;
use fanfare::auth::{Secret, Signer, TokenAlg};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

/// Far more than any client needs: tests share their machine.
const CLIENT_SECONDS_MAX: &str = "120";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// What a program of `tests/clients` prints.
fn told(program: &str, args: &[&str]) -> Value {
    let python = folder("clients/.venv/bin/python");
    assert!(python.exists(), "the clients are not installed: tests/clients/install");
    let interpreter = if program.ends_with(".py") { text(&python) } else { "node" };
    let mut command = Command::new("timeout");
    command.args([CLIENT_SECONDS_MAX, interpreter]).arg(folder("clients").join(program)).args(args);
    let output = command.env("PYTHONDONTWRITEBYTECODE", "1").output().expect("it runs");
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {trouble}");
    serde_json::from_slice(&output.stdout).expect(program)
}

// --- what others sign ---------------------------------------------------------------------------

/// What the tokens of `make_tokens` say.
const PARTIES: [(&str, &str); 2] = [
    ("FANFARE_AUTH_AUDIENCE", "others,fanfare"),
    ("FANFARE_AUTH_ISSUER", "https://issuer.example"),
];

fn start_with(variables: &[(&str, &str)]) -> Broker {
    start_with_env(&[variables, &PARTIES].concat(), &["--loops", "2"])
}

/// A broker with each key as a file or a variable of its own.
fn start_with_single_keys() -> Broker {
    let tokens = folder("tokens");
    let secret_file = tokens.join("secret.txt");
    let secret = fs::read_to_string(&secret_file).expect("a secret");
    let pem = |name: &str| fs::read_to_string(tokens.join(name)).expect("a key");
    let [rsa, ed25519] = ["rsa.pub.pem", "ed25519.pub.pem"].map(|name| tokens.join(name));
    start_with(&[
        ("FANFARE_AUTH_HS256_KEY", &secret),
        ("FANFARE_AUTH_HS384_KEY", &secret),
        ("FANFARE_AUTH_HS512_KEY_FILE", text(&secret_file)),
        ("FANFARE_AUTH_RS256_KEY_FILE", text(&rsa)),
        ("FANFARE_AUTH_ES256_KEY", &pem("p256.pub.pem")),
        ("FANFARE_AUTH_EDDSA_KEY_FILE", text(&ed25519)),
    ])
}

/// Whether that token lets in.
fn is_let_in(broker: &Broker, token: &str) -> bool {
    let (_, answer) = ask_to_open(broker, &[&bearer(token)]);
    assert!([101, 401].contains(&answer.status), "{answer:?}");
    answer.status == 101
}

#[test]
fn what_the_libraries_of_others_sign_lets_in_whatever_keys_come_from() {
    let tokens = folder("tokens");
    let set = told("make_jwks.py", &[text(&tokens)]).to_string();
    let temporary = tempfile::tempdir().expect("a folder");
    let file = temporary.path().join("keys.json");
    fs::write(&file, &set).expect("a file");
    let server = KeyServer::start(&set);
    let brokers = [
        start_with_single_keys(),
        start_with(&[("FANFARE_AUTH_JWKS_FILE", text(&file))]),
        start_with(&[("FANFARE_AUTH_JWKS_URL", &server.url())]),
    ];
    let now_s = now().as_secs().to_string();
    let mut let_in = 0;
    for program in ["make_tokens.py", "make_tokens.mjs"] {
        let made = told(program, &[text(&tokens), &now_s]);
        let made: BTreeMap<String, String> = serde_json::from_value(made).expect("tokens");
        for (alg, token) in &made {
            for broker in &brokers {
                // The set by URL may take a moment.
                until("it to be let in", || is_let_in(broker, token).then_some(()));
                let mut native = open(broker, token);
                let user = json!({ "id": "Zoë", "username": "Zoë Ünal" });
                let welcome: Value = serde_json::from_str(&native.welcome).expect("JSON");
                for (field, value) in user.as_object().expect("an object") {
                    assert_eq!(&welcome["user"][field], value, "{program} {alg}");
                }
                native.join("chat:1");
                native.say("chat:1", &json!(alg));
                let_in += 1;
                let (said, signature) = token.rsplit_once('.').expect("three parts");
                let turned: String = signature.chars().rev().collect();
                assert!(!is_let_in(broker, &format!("{said}.{turned}")), "{program} {alg}");
            }
        }
    }
    assert_eq!(let_in, (6 + 5) * 3);
    for broker in brokers {
        broker.stop();
    }
}

// --- keys by URL --------------------------------------------------------------------------------

/// A server of one document, which can be changed or taken away. Its thread ends with the test.
struct KeyServer {
    address: SocketAddr,
    document: Arc<Mutex<Option<String>>>,
}

impl KeyServer {
    fn start(document: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let document = Arc::new(Mutex::new(Some(document.to_owned())));
        let served = Arc::clone(&document);
        let serve = move || {
            for stream in listener.incoming() {
                let (mut stream, mut head) = (stream.expect("a connection"), Vec::new());
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).expect("a request");
                    head.extend(byte);
                }
                let answer = match served.lock().expect("nobody panicked").as_deref() {
                    Some(document) => format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/jwk-set+json\r\n\
                         Content-Length: {}\r\nConnection: close\r\n\r\n{document}",
                        document.len()
                    ),
                    None => "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                        .to_owned(),
                };
                stream.write_all(answer.as_bytes()).expect("the broker reads");
            }
        };
        let named = thread::Builder::new().name("keys".to_owned()).spawn(serve);
        named.expect("a thread");
        Self { address, document }
    }

    fn url(&self) -> String {
        format!("http://{}/keys?secret=not-for-the-log", self.address)
    }

    fn serve(&self, document: Option<String>) {
        *self.document.lock().expect("nobody panicked") = document;
    }
}

/// A secret of that letter, as a set has it and as tokens are signed with it.
fn secret(letter: char) -> (Value, Signer) {
    let secret = letter.to_string().repeat(32);
    let kid = format!("key-{letter}");
    let key = json!({
        "kty": "oct", "alg": "HS256", "kid": kid, "k": URL_SAFE_NO_PAD.encode(&secret),
    });
    let secret = Secret::new(secret.as_bytes());
    (key, Signer::from_secret(TokenAlg::Hs256, Some(&kid), &secret).expect("a key"))
}

fn set(keys: &[&Value]) -> String {
    json!({ "keys": keys }).to_string()
}

#[test]
fn keys_of_a_url_follow_it_and_stay_while_it_is_gone() {
    let ((old, old_signer), (new, new_signer)) = (secret('o'), secret('n'));
    let [old_token, new_token] =
        [old_signer, new_signer].map(|signer| signer.sign(&claims("ada")).expect("a token"));
    let server = KeyServer::start("not a set");
    let variables =
        [("FANFARE_AUTH_JWKS_URL", server.url()), ("FANFARE_AUTH_JWKS_REFRESH", "1s".to_owned())];
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let broker = start_with_env(&variables, &["--loops", "2"]);
    // Before the first good set nobody comes in.
    until("the failure to be told", || broker.log().contains("cannot fetch").then_some(()));
    assert!(!is_let_in(&broker, &old_token));
    server.serve(Some(set(&[&old])));
    until("the first key to be known", || is_let_in(&broker, &old_token).then_some(()));
    assert!(!is_let_in(&broker, &new_token), "it is not known yet");
    let mut member = open(&broker, &old_token);
    // A rotation: both for a while, then the new one alone.
    server.serve(Some(set(&[&old, &new])));
    until("the new key to be known", || is_let_in(&broker, &new_token).then_some(()));
    assert!(is_let_in(&broker, &old_token), "it is still there");
    server.serve(Some(set(&[&new])));
    // Each loop learns of it by itself, so often enough to have met both.
    until("the old key to be forgotten", || {
        (0..8).all(|_| !is_let_in(&broker, &old_token)).then_some(())
    });
    assert!(is_let_in(&broker, &new_token));
    assert_eq!(member.ask(&json!({ "type": "ping" }))["type"], "pong", "who is in stays");
    // While it is gone, or is nonsense, the last good set holds.
    let failures = || broker.log().matches("cannot fetch").count();
    for document in [None, Some("{}".to_owned()), Some(set(&[]))] {
        let before = failures();
        server.serve(document);
        until("a failure to be told", || (failures() > before).then_some(()));
        assert!(is_let_in(&broker, &new_token));
        assert!(!is_let_in(&broker, &old_token));
    }
    assert!(!broker.log().contains("not-for-the-log"), "{}", broker.log());
    drop(member);
    broker.stop();
}

// --- clients of others --------------------------------------------------------------------------

#[test]
fn clients_of_others_come_in_with_a_token_and_are_refused_without() {
    let broker = start(&["--loops", "2", "--auth-timeout", "3s"]);
    let url = format!("ws://{}", broker.address());
    let good = token("ada");
    let (said, other) = (good.rsplit_once('.'), token("bob"));
    let (said, signature) = (said.expect("three parts").0, other.rsplit_once('.'));
    let bad = format!("{said}.{}", signature.expect("three parts").1);
    for (program, unauthorized) in [
        ("visit.py", "status 401"),
        ("visit.mjs", "1006 Unexpected server response: 401"),
        // A page is not told why.
        ("visit_chromium.mjs", "1006 error"),
    ] {
        let told = told(program, &[&url, &good, &bad]);
        let welcome = "welcome ada by fanfare.v1.json";
        let asked = json!({ "good": welcome, "bad": unauthorized });
        let mut expected = json!({
            "subprotocol": asked, "query": asked,
            "raw": { "good": "echo by none", "bad": unauthorized },
            "message": { "good": welcome, "bad": "auth-failed 4001" },
            "none": { "ws": "4001", "raw": unauthorized },
        });
        if program != "visit_chromium.mjs" {
            expected["field"] = asked;
        }
        assert_eq!(told, expected, "{program}");
    }
    broker.stop();
}
