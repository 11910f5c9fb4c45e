//! `docs/config.md` and the settings stay in step: every row, every default, the example.

use fanfare::config::{Config, File, Layers, ROLE_KEYS, ROOM_KEYS, SETTINGS, USER_KEYS};
use std::path::Path;

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md");
    std::fs::read_to_string(path).expect("docs/config.md is there")
}

/// The rows of the table under `heading`, as cells.
fn rows(document: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, section) = document.split_once(&format!("\n## {heading}\n")).expect(heading);
    section
        .lines()
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ");
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

#[test]
fn every_setting_has_its_row_and_every_row_its_setting() {
    let rows = rows(&document(), "Settings");
    let expected: Vec<Vec<String>> = SETTINGS
        .iter()
        .map(|setting| {
            let flag = format!("--{} {}", setting.flag, setting.value_name);
            vec![
                format!("`{}`", setting.key),
                format!("`{}`", flag.trim_end()),
                format!("`{}`", setting.variable()),
                format!("`{}`", setting.default),
                setting.meaning.to_owned(),
            ]
        })
        .collect();
    for (row, expected) in rows.iter().zip(&expected) {
        let (at_the_limit, row) = row.split_last().expect("a row has cells");
        assert_eq!(row, expected);
        assert!(!at_the_limit.is_empty(), "{expected:?} says what happens at the limit");
    }
    assert_eq!(rows.len(), expected.len());
}

#[test]
fn every_key_of_rooms_roles_and_users_has_its_row() {
    let tables = [("Rooms", &ROOM_KEYS[..]), ("Roles", &ROLE_KEYS), ("Users", &USER_KEYS)];
    for (heading, keys) in tables {
        let expected: Vec<Vec<String>> = keys
            .iter()
            .map(|(key, default, meaning)| {
                vec![format!("`{key}`"), (*default).to_owned(), (*meaning).to_owned()]
            })
            .collect();
        assert_eq!(rows(&document(), heading), expected, "{heading}");
    }
}

#[test]
fn every_example_is_a_good_file_that_differs_from_the_defaults() {
    let document = document();
    let examples = document.split("```toml\n").skip(1).map(|rest| {
        let (text, _) = rest.split_once("```").expect("its end");
        let file = Some(File { name: "docs/config.md", text });
        let config = Config::parse(&Layers { file, ..Layers::default() }).expect("a good file");
        assert_eq!(config.warnings, [""; 0]);
        assert_ne!(config, Config::default());
        config
    });
    let config = examples.last().expect("an example");
    assert_ne!(config.rooms.options("ticker:oil"), config.rooms.options("lobby"));
    assert_ne!(config.rooms.options("org:42:a:b"), config.rooms.options("lobby"));
}

#[test]
fn every_field_of_a_config_is_documented() {
    // A new field fails to compile here until someone decides where it is documented.
    let Config {
        listen: _,
        loops: _,
        pin: _,
        accept: _,
        takeover: _,
        echo_route: _,
        insecure: _,
        connections_max: _,
        message_bytes_max: _,
        rooms_max: _,
        outbox_bytes_max: _,
        outbox_messages_max: _,
        rooms_per_conn_max: _,
        content_bytes_max: _,
        connections_per_address_max: _,
        accepts_per_second: _,
        memory_max: _,
        handshake_timeout_ms: _,
        heartbeat_interval_ms: _,
        heartbeat_timeout_ms: _,
        close_timeout_ms: _,
        drain_window_ms: _,
        drain_timeout_ms: _,
        room_grace_ms: _,
        compression: _,
        history: _,
        history_total_bytes_max: _,
        presence: _,
        presence_grace_ms: _,
        session_timeout_ms: _,
        batch: _,
        default_rooms: _,
        idle_room_timeout_ms: _,
        identity: _,
        trusted_proxies: _,
        client_address_header: _,
        proxy_protocol: _,
        origins: _,
        auth: _,
        rates: _,
        rooms: _,
        log: _,
        warnings: _,
    } = Config::default();
    // All but `rooms` and `warnings` are settings; some are several: the log two, compression five,
    // history three, presence four, batches two, identity three, origins two, auth 26, rates six.
    assert_eq!(SETTINGS.len(), 48 - 2 - 3 + 1 + 2 + 2 + 3 + 1 + 2 + 1 + 25 + 5);
}
