//! The real binary: exit codes, messages, signals, and `sub` and `pub` against a server that others
//! wrote.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_secs(20);

/// The binary with these arguments, and nothing of the tester's own environment that it reads.
fn fanfare(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    for (name, _) in std::env::vars() {
        if name.starts_with("FANFARE_") {
            command.env_remove(name);
        }
    }
    command.env_remove("PORT").env_remove("RUST_LOG").args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end: exit code, stdout, stderr.
fn run(command: &mut Command) -> (Option<i32>, String, String) {
    outcome(command.output().expect("the binary runs"))
}

fn outcome(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("the binary starts"))
    }

    /// The first line of its stdout.
    fn first_line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.0.stdout.as_mut().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        line
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process has an id"), signal).expect("it can be signalled");
    }

    /// Waits for the end: exit code and what was left on stderr.
    fn end(mut self) -> (Option<i32>, String) {
        let mut stderr = String::new();
        let piped = self.0.stderr.as_mut().expect("stderr is piped");
        piped.read_to_string(&mut stderr).expect("stderr is UTF-8");
        (self.0.wait().expect("it ends").code(), stderr)
    }
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("fanfare.toml");
    std::fs::write(&path, text).expect("a file");
    (dir, path)
}

// --- flags and configuration ----------------------------------------------------------------

#[test]
fn version_and_help_are_on_stdout() {
    let (code, stdout, _) = run(&mut fanfare(&["--version"]));
    assert_eq!((code, stdout), (Some(0), format!("fanfare {}\n", env!("CARGO_PKG_VERSION"))));
    let (code, stdout, _) = run(&mut fanfare(&["serve", "--help"]));
    assert_eq!(code, Some(0));
    for needle in ["--listen <ADDR:PORT>", "--no-pin", "--echo-route", "FANFARE_DRAIN_WINDOW"] {
        assert!(stdout.contains(needle), "{needle} in {stdout}");
    }
}

#[test]
fn a_bad_flag_or_argument_is_exit_code_2() {
    for (args, message) in [
        (&["--bogus"][..], "--bogus"),
        (&["serve", "--lops", "2"], "'--loops'"),
        (&["serve", "--loops", "65"], "from 1 to 64"),
        (&["--listen", "8080"], "write 127.0.0.1:8080"),
        (&["sub"], "<ROOM>"),
        (&["sub", "a b"], "printable ASCII"),
        (&["sub", "lobby", "--count", "0"], "--count"),
        (&["pub", "lobby", "x", "--url", "http://127.0.0.1"], "ws://HOST:PORT"),
    ] {
        let (code, stdout, stderr) = run(&mut fanfare(args));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}: {stderr}");
        assert!(stderr.contains(message), "{args:?}: {stderr}");
    }
}

#[test]
fn check_says_ok_or_every_mistake() {
    let (_dir, good) = file("loops = 2\n[[rooms]]\npattern = \"a\"\nraw_drops = \"silent\"\n");
    let (code, stdout, stderr) = run(fanfare(&["check"]).arg(&good));
    assert_eq!((code, stdout), (Some(0), format!("ok: {}\n", good.display())));
    assert!(stderr.starts_with("warning: raw_drops"), "{stderr}");

    let (_dir, bad) = file("loops = 65\n[[rooms]]\npattern = \"a\"\noverflw = \"latest\"\n");
    let name = bad.display();
    let expected = format!(
        "fanfare: line 1: loops of {name} is 65; it takes \"auto\", or a whole number from 1 to \
         64\nfanfare: line 4: unknown key \"overflw\" in [[rooms]] #1 of {name}; did you mean \
         \"overflow\"?\n"
    );
    let by_argument = run(fanfare(&["check"]).arg(&bad));
    assert_eq!(by_argument, (Some(78), String::new(), expected));
    assert_eq!(run(fanfare(&["check"]).env("FANFARE_CONFIG", &bad)), by_argument);
    for serve in [&["--config"][..], &["serve", "--config"]] {
        assert_eq!(run(fanfare(serve).arg(&bad)), by_argument);
    }
}

#[test]
fn a_bad_environment_or_a_missing_file_is_exit_code_78() {
    for (name, value, message) in [
        ("FANFARE_LOOPS", "many", "FANFARE_LOOPS is \"many\"; it takes \"auto\""),
        ("FANFARE_LISTN", "x", "did you mean \"FANFARE_LISTEN\"?"),
        ("FANFARE_CONFIG", "/nowhere/f.toml", "cannot read /nowhere/f.toml"),
        ("PORT", "http", "PORT is \"http\"; it takes a port"),
    ] {
        for command in ["check", "serve"] {
            let (code, stdout, stderr) = run(fanfare(&[command]).env(name, value));
            assert_eq!((code, stdout.as_str()), (Some(78), ""), "{command} {name}: {stderr}");
            assert!(stderr.contains(message), "{command} {name}: {stderr}");
        }
    }
    let (code, stdout, _) = run(fanfare(&["check"]).env("FANFARE_SERVICE_HOST", "10.0.0.1"));
    assert_eq!((code, stdout.as_str()), (Some(0), "ok: no file; environment and defaults\n"));
}

// --- who may come in -------------------------------------------------------------------------

/// A secret for HS256, easy to find where it must not be.
const SECRET: &str = "sesame-sesame-sesame-sesame-0123";

/// The claims of a token, and the number of its parts.
fn claims(token: &str) -> (serde_json::Value, usize) {
    let parts: Vec<&str> = token.trim_end().split('.').collect();
    let json = URL_SAFE_NO_PAD.decode(parts[1]).expect("base64");
    (serde_json::from_slice(&json).expect("JSON"), parts.len())
}

#[test]
fn token_prints_what_the_broker_would_take() {
    let mut command = fanfare(&["token", "--user", "ada", "--username", "Ada", "--ttl", "2h"]);
    command.args(["--roles", "press,member", "--join", "chat:*", "--join", "news"]);
    command.args(["--publish", "chat:*", "--autojoin", "news"]);
    command.env("FANFARE_AUTH_HS256_KEY", SECRET).env("FANFARE_AUTH_AUDIENCE", "chat,other");
    let (code, token, stderr) = run(command.env("FANFARE_AUTH_ISSUER", "me"));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let (claims, parts) = claims(&token);
    assert_eq!(parts, 3);
    let life = claims["exp"].as_u64().zip(claims["iat"].as_u64()).map(|(exp, iat)| exp - iat);
    assert_eq!((life, claims["jti"].as_str().map(str::len)), (Some(7_200), Some(32)));
    for (claim, value) in [
        ("sub", serde_json::json!("ada")),
        ("username", "Ada".into()),
        ("roles", serde_json::json!(["press", "member"])),
        ("rooms", serde_json::json!({"join": ["chat:*", "news"], "publish": ["chat:*"]})),
        ("autojoin", serde_json::json!(["news"])),
        ("aud", serde_json::json!(["chat"])),
        ("iss", "me".into()),
    ] {
        assert_eq!(claims[claim], value, "{claim}");
    }
}

#[test]
fn token_fails_where_nothing_signs_or_the_broker_would_refuse() {
    let with_key = |args: &[&str]| {
        let mut command = fanfare(&["token"]);
        run(command.args(args).env("FANFARE_AUTH_HS256_KEY", SECRET))
    };
    for (args, code, message) in [
        (&[][..], 2, "--user <ID>"),
        (&["--user", "ada", "--rooms", "[]"], 2, "a JSON object"),
        (&["--user", "ada", "--rooms", "{}", "--join", "a"], 2, "cannot be used with"),
        (&["--user", "ada", "--ttl", "0s"], 2, "whole seconds"),
        (&["--user", "guest-1"], 1, "claim sub"),
        (&["--user", "ada", "--join", "a:**:b"], 1, "claim rooms"),
        (&["--user", "ada", "--autojoin", "two words"], 1, "claim autojoin"),
    ] {
        let (ended, stdout, stderr) = with_key(args);
        assert_eq!((ended, stdout.as_str()), (Some(code), ""), "{args:?}: {stderr}");
        assert!(stderr.contains(message), "{args:?}: {stderr}");
    }
    let (code, _, stderr) = run(&mut fanfare(&["token", "--user", "ada"]));
    assert_eq!(code, Some(78), "{stderr}");
    assert!(stderr.contains("no key to sign tokens with is configured"), "{stderr}");
}

#[test]
fn password_hashes_a_line_of_stdin() {
    let hash_of = |input: &[u8]| {
        let mut child = fanfare(&["password"]).stdin(Stdio::piped()).spawn().expect("it runs");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(input).expect("it reads");
        drop(stdin);
        outcome(child.wait_with_output().expect("it ends"))
    };
    let (code, hash, stderr) = hash_of(b"open sesame\n");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(hash.starts_with("$argon2id$") && hash.ends_with('\n') && hash.lines().count() == 1);
    let (code, stdout, stderr) = hash_of(b"\n");
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("no password on stdin"), "{stderr}");
}

#[test]
fn without_a_key_no_other_machine_is_listened_to_unless_one_says_so() {
    for (args, address) in [
        (&["serve", "--listen", "0.0.0.0:0"][..], "0.0.0.0:0"),
        (&["--listen", "[::]:1"], "[::]:1"),
    ] {
        let (code, stdout, stderr) = run(&mut fanfare(args));
        assert_eq!((code, stdout.as_str()), (Some(78), ""), "{stderr}");
        for needle in [address, "--insecure", "FANFARE_AUTH_HS256_KEY"] {
            assert!(stderr.contains(needle), "{needle} in {stderr}");
        }
    }
    let mut insecure = fanfare(&["--listen", "0.0.0.0:0", "--loops", "1", "--insecure"]);
    let mut keyed = fanfare(&["--listen", "0.0.0.0:0", "--loops", "1"]);
    keyed.env("FANFARE_AUTH_HS256_KEY", SECRET);
    for (command, warns) in [(&mut insecure, true), (&mut keyed, false)] {
        let mut broker = Running::start(command);
        assert!(broker.first_line().starts_with("listening on 0.0.0.0:"));
        broker.signal(Signal::TERM);
        let (code, stderr) = broker.end();
        assert_eq!(code, Some(0), "{stderr}");
        assert_eq!(stderr.contains("no key for tokens is configured"), warns, "{stderr}");
        let access = if warns { "anyone, without a token" } else { "with a token (HS256)" };
        assert!(stderr.contains(access) && !stderr.contains("sesame"), "{stderr}");
    }
}

#[test]
fn check_reads_the_files_of_keys_and_no_secret_is_ever_shown() {
    let (dir, good) = file("");
    let key = dir.path().join("key");
    std::fs::write(&key, format!("{SECRET}\n")).expect("a file");
    let text = format!("[auth]\nhs256_key_file = {:?}\n", key.display().to_string());
    std::fs::write(&good, text).expect("a file");
    let (code, stdout, stderr) = run(fanfare(&["check"]).arg(&good));
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");

    std::fs::write(&key, "open sesame\n").expect("a file");
    let expected = format!(
        "fanfare: auth.hs256_key_file ({}) is too short: 11 bytes; HS256 needs at least 32\n",
        key.display()
    );
    for args in [&["check"][..], &["serve"], &["token", "--user", "ada"]] {
        let ended = run(fanfare(args).env("FANFARE_CONFIG", &good));
        assert_eq!(ended, (Some(78), String::new(), expected.clone()), "{args:?}");
    }

    for (command, code) in [
        (fanfare(&["--auth-hs256-key", "open sesame"]), 78),
        (fanfare(&["--auth-api-keys", "open sesame"]), 78),
        (fanfare(&["serve", "--auth-hs256-key", SECRET, "--auth-hs256-key", SECRET]), 2),
        (fanfare(&["serve", "--auth-hs256-key", SECRET, "--help"]), 0),
    ] {
        let mut command = command;
        let (ended, stdout, stderr) = run(command.env("FANFARE_AUTH_HS384_KEY", "open sesame"));
        assert_eq!(ended, Some(code), "{stderr}");
        assert!(!stdout.contains("sesame") && !stderr.contains("sesame"), "{stderr}");
    }
    let mut no_text = fanfare(&["check"]);
    no_text.env("FANFARE_AUTH_HS256_KEY", OsStr::from_bytes(b"sesame\xff"));
    let (code, _, stderr) = run(&mut no_text);
    assert_eq!((code, stderr.contains("sesame")), (Some(78), false), "{stderr}");
}

// --- serve ----------------------------------------------------------------------------------

const SERVE: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--loops", "1"];

/// The port of `listening on 127.0.0.1:PORT`.
fn port(line: &str) -> u16 {
    let port = line.strip_prefix("listening on 127.0.0.1:").map(|port| port.trim_end().parse());
    port.and_then(Result::ok).expect(line)
}

#[test]
fn serve_names_its_port_and_drains_on_the_first_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut broker = Running::start(&mut fanfare(&SERVE));
        let port = port(&broker.first_line());
        assert_ne!(port, 0);
        broker.signal(signal);
        let (code, stderr) = broker.end();
        assert_eq!(code, Some(0), "{stderr}");
        for needle in [
            format!("Fanfare {}", env!("CARGO_PKG_VERSION")),
            format!("fanfare sub lobby --url ws://127.0.0.1:{port}"),
            format!("curl -d hello http://127.0.0.1:{port}/v1/rooms/lobby/messages"),
            format!("ws://127.0.0.1:{port}/raw/lobby"),
            "draining".to_owned(),
        ] {
            assert!(stderr.contains(&needle), "{needle} in {stderr}");
        }
    }
}

#[test]
fn a_token_from_the_command_line_lets_its_user_publish_and_none_does_not() {
    let mut broker = Running::start(fanfare(&SERVE).env("FANFARE_AUTH_HS256_KEY", SECRET));
    let url = format!("ws://127.0.0.1:{}", port(&broker.first_line()));
    let token = |user: &[&str]| {
        let mut command = fanfare(&["token", "--user", "ada"]);
        let (code, token, stderr) = run(command.args(user).env("FANFARE_AUTH_HS256_KEY", SECRET));
        assert_eq!(code, Some(0), "{stderr}");
        token.trim_end().to_owned()
    };
    let publish = |room: &str, token: &str| {
        run(fanfare(&["pub", room, "hello", "--url", &url]).env("FANFARE_TOKEN", token))
    };
    let writer = token(&["--join", "chat:*", "--publish", "chat:*"]);
    for (room, token, code, message) in [
        ("chat:1", writer.as_str(), 0, ""),
        ("chat:1", "", 1, "401"),
        ("chat:1", "a.b.c", 1, "401"),
        ("chat:1", "a b", 1, "no JSON Web Token"),
        ("news", &writer, 1, "403"),
    ] {
        let (ended, _, stderr) = publish(room, token);
        assert_eq!(ended, Some(code), "{room} {message}: {stderr}");
        assert!(stderr.contains(message) && !stderr.contains(&writer), "{message}: {stderr}");
    }
}

#[test]
fn without_a_command_it_serves_and_json_is_the_only_thing_on_stderr() {
    let args = ["--listen", "127.0.0.1:0", "--log-format", "json", "--no-pin"];
    let mut broker = Running::start(&mut fanfare(&args));
    port(&broker.first_line());
    broker.signal(Signal::TERM);
    let (code, stderr) = broker.end();
    assert_eq!(code, Some(0), "{stderr}");
    let lines: Vec<serde_json::Value> =
        stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let started = lines.iter().find(|line| line["message"] == "started").expect("a greeting");
    assert_eq!((&started["pinned"], &started["level"]), (&false.into(), &"INFO".into()));
}

#[test]
fn an_address_in_use_is_exit_code_1_and_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let (code, stdout, stderr) = run(&mut fanfare(&["serve", "--listen", &address]));
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains(&address) && stderr.contains("in use"), "{stderr}");
    assert!(stderr.contains("--takeover"), "{stderr}");
}

// --- sub and pub ----------------------------------------------------------------------------

/// A listener of the test's own, and the URL to give.
fn broker() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    // On Linux this bounds accept as well.
    socket2::SockRef::from(&listener).set_read_timeout(Some(DEADLINE)).expect("a time-out");
    let url = format!("ws://{}", listener.local_addr().expect("bound"));
    (listener, url)
}

/// Takes one connection and its handshake; the request's target too.
fn accept(listener: &TcpListener) -> (WebSocket<TcpStream>, String) {
    let (stream, _) = listener.accept().expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    let mut target = String::new();
    #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
    let note = |request: &Request, response: Response| {
        target = request.uri().to_string();
        Ok(response)
    };
    let socket = tungstenite::accept_hdr(stream, note).expect("a handshake");
    (socket, target)
}

/// Reads until the client has closed; what came before.
fn read_to_close(socket: &mut WebSocket<TcpStream>) -> Vec<Message> {
    let mut messages = Vec::new();
    loop {
        match socket.read() {
            Ok(message) => messages.push(message),
            Err(error) => {
                let closed = matches!(error, tungstenite::Error::ConnectionClosed);
                assert!(closed, "{error} after {messages:?}");
                return messages;
            }
        }
    }
}

fn normal() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

#[test]
fn sub_prints_each_message_answers_pings_and_ends_after_the_count() {
    let (listener, url) = broker();
    let child = fanfare(&["sub", "a/b", "--count", "3"]).env("FANFARE_URL", &url).spawn();
    let child = child.expect("the binary starts");
    let serve = || {
        let (mut socket, target) = accept(&listener);
        for message in [
            Message::text("héllo"),
            Message::Ping("still there?".into()),
            Message::binary(vec![0, 255]),
            Message::text("x".repeat(300_000)),
            Message::text("one too many"),
        ] {
            socket.send(message).expect("sent");
        }
        (target, read_to_close(&mut socket))
    };
    // The large message fills the pipe of stdout, so both ends must be read at once.
    let (served, output) = thread::scope(|scope| {
        let served = scope.spawn(serve);
        let output = child.wait_with_output().expect("it ends");
        (served.join().expect("served"), output)
    });
    let answers = vec![Message::Pong("still there?".into()), normal()];
    assert_eq!(served, ("/raw/a%2Fb".to_owned(), answers));
    let (code, stdout, stderr) = outcome(output);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, format!("héllo\n00ff\n{}\n", "x".repeat(300_000)));
    assert_eq!(stderr, format!("joined a/b at {url}\n"));
}

#[test]
fn sub_fails_with_the_brokers_reason_when_the_broker_closes() {
    let (listener, url) = broker();
    let child = fanfare(&["sub", "lobby", "--raw", "--url", &url]).spawn();
    let child = child.expect("the binary starts");
    let (mut socket, _) = accept(&listener);
    socket.send(Message::binary(&b"as it is"[..])).expect("sent");
    let away = CloseFrame { code: CloseCode::Away, reason: "draining".into() };
    socket.close(Some(away.clone())).expect("closed");
    let answers = read_to_close(&mut socket);
    assert!(
        matches!(&answers[..], [Message::Close(Some(echo))] if echo.code == away.code),
        "{answers:?}"
    );
    let outcome = outcome(child.wait_with_output().expect("it ends"));
    let stderr = format!(
        "joined lobby at {url}\nfanfare: the broker closed the connection: 1001 (\"draining\")\n"
    );
    assert_eq!(outcome, (Some(1), "as it is".to_owned(), stderr));
}

#[test]
fn pub_sends_as_it_is_told_and_waits_for_the_close() {
    let large = "é".repeat(500_000);
    for (args, stdin, expected) in [
        (&["pub", "lobby", "hello"][..], "", Message::text("hello")),
        (&["pub", "lobby", ""], "", Message::text("")),
        (&["pub", "lobby", "-"], "from\nstdin\n", Message::text("from\nstdin\n")),
        (&["pub", "lobby", "-"], &large, Message::text(large.as_str())),
        (&["pub", "lobby", "--binary", "-"], "\0\u{1}", Message::binary(&b"\0\x01"[..])),
    ] {
        let (listener, url) = broker();
        let mut command = fanfare(args);
        let mut child =
            command.args(["--url", &url]).stdin(Stdio::piped()).spawn().expect("it runs");
        let mut input = child.stdin.take().expect("stdin is piped");
        // `pub` with a text does not read stdin and may have ended.
        input.write_all(stdin.as_bytes()).ok();
        drop(input);
        let (mut socket, target) = accept(&listener);
        assert_eq!(target, "/raw/lobby?echo=0");
        // Others talk in the room meanwhile.
        socket.send(Message::text("chatter")).expect("sent");
        assert_eq!(read_to_close(&mut socket), [expected, normal()], "{args:?}");
        let outcome = outcome(child.wait_with_output().expect("it ends"));
        assert_eq!(outcome, (Some(0), String::new(), String::new()), "{args:?}");
    }
}

#[test]
fn pub_fails_when_the_broker_refuses_the_message() {
    let (listener, url) = broker();
    let child = fanfare(&["pub", "lobby", "too large", "--url", &url]).spawn();
    let child = child.expect("the binary starts");
    let (mut socket, _) = accept(&listener);
    socket.close(Some(CloseFrame { code: CloseCode::Size, reason: "".into() })).expect("closed");
    drop(socket);
    let (code, stdout, stderr) = outcome(child.wait_with_output().expect("it ends"));
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("closed the connection: 1009"), "{stderr}");
}

#[test]
fn pub_fails_when_the_connection_ends_without_a_close() {
    let (listener, url) = broker();
    let child = fanfare(&["pub", "lobby", "hello", "--url", &url]).spawn();
    let child = child.expect("the binary starts");
    let (mut socket, _) = accept(&listener);
    assert_eq!(socket.read().expect("the message"), Message::text("hello"));
    socket.get_mut().shutdown(Shutdown::Write).expect("ended");
    let (code, _, stderr) = outcome(child.wait_with_output().expect("it ends"));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("ended without a close"), "{stderr}");
}

#[test]
fn who_cannot_reach_a_broker_is_told_how() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let url = format!("ws://{}", closed.expect("a port that was free"));
    for args in [&["pub", "lobby", "hello"][..], &["sub", "lobby"]] {
        let (code, stdout, stderr) = run(fanfare(args).args(["--url", &url]));
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
        assert!(stderr.starts_with(&format!("fanfare: cannot reach the broker at {url}: ")));
        assert!(stderr.contains("fanfare serve"), "{stderr}");
    }
}

#[test]
fn an_answer_that_is_no_upgrade_is_named() {
    let (listener, url) = broker();
    let child = fanfare(&["sub", "lobby", "--url", &url]).spawn().expect("it runs");
    let (mut stream, _) = listener.accept().expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the request");
        request.extend(byte);
    }
    stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").expect("sent");
    let (code, _, stderr) = outcome(child.wait_with_output().expect("it ends"));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("status 404"), "{stderr}");
}

#[test]
fn text_that_is_no_utf8_is_not_sent_as_text() {
    let mut command = fanfare(&["pub", "lobby", "-", "--url", "ws://127.0.0.1:1"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("it runs");
    let mut input = child.stdin.take().expect("stdin is piped");
    input.write_all(b"\xff").expect("it reads stdin");
    drop(input);
    let (code, _, stderr) = outcome(child.wait_with_output().expect("it ends"));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("--binary"), "{stderr}");
}
