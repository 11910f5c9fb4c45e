//! Side threads with a real server of two loops: logins, and keys that reach every loop.

use super::*;
use crate::auth::{Secret, Signer, TokenAlg, TokenRules};
use crate::config::{Config, ListenAddr};
use crate::net::Server;
use crate::side::PasswordHash;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

const LOOPS: usize = 2;
/// Connections that the kernel spreads over both loops all but surely.
const CONNECTIONS: usize = 40;

/// Of "password".
const HASH: &str =
    "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

fn start(side: SideWork) -> (Server, SocketAddr) {
    let listen = vec![ListenAddr::Tcp((Ipv4Addr::LOCALHOST, 0).into())];
    let config = Config { listen, loops: LOOPS, pin: false, ..Config::default() };
    let server = Server::start(&config, Arc::default(), side).expect("a free port");
    let [ListenAddr::Tcp(address)] = server.addresses() else { panic!("one address") };
    let address = *address;
    (server, address)
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut client = TcpStream::connect(address).expect("a connection");
    client.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
    client.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    answer
}

fn log_in(address: SocketAddr, password: &str) -> String {
    let body = format!(r#"{{"user":"ada","password":"{password}"}}"#);
    let length = body.len();
    let head = "POST /v1/auth HTTP/1.1\r\nHost: h\r\nConnection: close\r\n";
    ask(address, &format!("{head}Content-Length: {length}\r\n\r\n{body}"))
}

fn stop(server: Server) {
    server.drainer().drain();
    server.join();
}

#[test]
fn a_login_goes_to_its_thread_and_comes_back_to_its_loop() {
    let signer = Signer::from_secret(TokenAlg::Hs256, None, &Secret::new([7; 32])).expect("a key");
    let mut desk = Desk::signing(signer, &TokenRules::default(), 60);
    desk.add("ada", PasswordHash::parse(HASH).expect("a hash"), Vec::new());
    let (server, address) = start(SideWork { logins: Some(desk), ..SideWork::default() });
    let granted = log_in(address, "password");
    assert!(granted.starts_with("HTTP/1.1 200 ") && granted.contains("token"), "{granted}");
    let mut lines: Vec<String> = (0..CONNECTIONS)
        .map(|_| log_in(address, "hush").lines().next().unwrap_or_default().to_owned())
        .collect();
    lines.dedup();
    assert_eq!(lines, ["HTTP/1.1 401 Unauthorized", "HTTP/1.1 429 Too Many Requests"]);
    stop(server);
}

#[test]
fn without_logins_there_are_none() {
    let (server, address) = start(SideWork::default());
    assert!(log_in(address, "password").starts_with("HTTP/1.1 404 "));
    stop(server);
}

#[test]
fn keys_that_are_fetched_reach_every_loop() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let named = thread::Builder::new().name("key-server".to_owned());
    let served = named.spawn(move || {
        let (mut client, _) = listener.accept().expect("a fetch");
        let set = r#"{"keys":[{"kty":"oct","alg":"HS256","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#;
        let length = set.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        client.write_all(format!("{head}{set}").as_bytes()).expect("it reads");
        client.read_to_end(&mut Vec::new()).unwrap_or_default();
    });
    served.expect("a thread");
    let keys = KeySource::new(&url, Duration::from_secs(300));
    let (server, address) = start(SideWork { keys: Some(keys), ..SideWork::default() });
    let publish = "POST /v1/rooms/a/messages HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
                   Content-Length: 1\r\n\r\nx";
    // Without keys anyone may publish; with some, nobody without a token.
    let mut in_a_row = 0;
    for _ in 0..10_000 {
        let answer = ask(address, publish);
        in_a_row = if answer.starts_with("HTTP/1.1 401 ") { in_a_row + 1 } else { 0 };
        if in_a_row == CONNECTIONS {
            break;
        }
    }
    assert_eq!(in_a_row, CONNECTIONS, "on every loop");
    stop(server);
}
