//! Laws of the native protocol: what is read is what a tree of JSON says, and records read back.
//!
//! Not here: examples (at the code), what a request does. Invariant: every random test names its
//! seed, and makes cases of both kinds, good and bad.

#[path = "naive/native.rs"]
mod naive;

use fanfare::protocol::{binary, json};
use std::fs;

/// Pieces of which requests are made, good ones and bad ones.
const PIECES: [&str; 44] = [
    r#"{"type":"room-message","#,
    r#"{"type":"message","#,
    r#"{"type":"join-room","#,
    r#"{"type":"hello","#,
    r#"{"id":"7e1","type":"typing","#,
    r#""room":"lobby""#,
    r#""roomId":"a\"b""#,
    r#""content":"hi""#,
    r#""text":{"a":[1,2.5e3,null]}"#,
    r#""data":"\ud83d\ude00""#,
    r#""data":"\ud83d""#,
    r#""message":1e400"#,
    r#""isTyping":true"#,
    r#""since":{"epoch":"000000000000f00d","seq":7}"#,
    r#""id":"\u0061""#,
    r#""id":-0.5"#,
    r#""echo":null"#,
    r#""what":"ever""#,
    ",",
    ",",
    ",",
    ",",
    "}",
    "}",
    "}",
    "{",
    "[",
    "]",
    ":",
    "\"",
    "\\",
    "\\u",
    " ",
    "\n",
    "0",
    "-",
    "e",
    "9999999999999999999999999999999999999999999999999999999999999999999999999999999999999999",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
    "true",
    "null",
    "\u{0}",
    "é",
];

#[test]
fn any_bytes_are_read_as_their_tree_says() {
    let (mut good, mut bad) = (0, 0);
    for seed in 0..60_000 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut text = String::from(*dice.choice(&PIECES[..5]).expect("pieces"));
        for field in 0..dice.usize(1..4) {
            if field > 0 {
                text.push(',');
            }
            text.push_str(dice.choice(&PIECES[5..18]).expect("pieces"));
        }
        text.push('}');
        for _ in 0..dice.usize(..3) {
            let piece = dice.choice(&PIECES).expect("pieces");
            let places: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
            text.insert_str(*dice.choice(&places).expect("a place"), piece);
        }
        eprintln!("seed {seed}: {text}");
        naive::check_json(text.as_bytes());
        match json::decode(text.as_bytes()) {
            Ok(_) => good += 1,
            Err(_) => bad += 1,
        }
    }
    assert!(good > 1_000 && bad > 1_000, "{good} good, {bad} bad");
}

#[test]
fn a_publication_of_any_parts_reads_back() {
    for seed in 0..5_000 {
        let mut dice = fastrand::Rng::with_seed(seed);
        eprintln!("seed {seed}");
        let mut text = |most: usize, any: bool| -> String {
            let draw = |dice: &mut fastrand::Rng| match any && dice.bool() {
                true => dice.char(..),
                false => dice.char('!'..='~'),
            };
            (0..dice.usize(1..most)).map(|_| draw(&mut dice)).collect()
        };
        naive::check_publish(&text(40, true), &text(140, false), &text(400, true));
    }
}

#[test]
fn any_frame_is_read_as_byte_by_byte() {
    let mut good = 0;
    for seed in 0..40_000 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut frame = Vec::new();
        for _ in 0..dice.usize(1..4) {
            let body: Vec<u8> = (0..dice.usize(..12)).map(|_| dice.u8(..)).collect();
            frame.push(u8::try_from(body.len() + 2).expect("short"));
            frame.push(dice.u8(1..4));
            frame.push(dice.u8(..) & *dice.choice(&[0x07, 0x17, 0x27, 0xFF]).expect("flags"));
            frame.extend_from_slice(&body);
        }
        if dice.u8(..4) == 0 {
            let place = dice.usize(..frame.len());
            frame[place] ^= 1 << dice.u8(..8);
        }
        eprintln!("seed {seed}: {frame:02x?}");
        naive::check_binary(&frame);
        good += usize::from(binary::decode(&frame).all(|record| record.is_ok()));
    }
    assert!((10_000..39_000).contains(&good), "{good} good");
}

#[test]
fn fuzz_seeds_keep_the_laws() {
    for (folder, check) in
        [("native_json", naive::check_json as fn(&[u8])), ("native_binary", naive::check_binary)]
    {
        let seeds = format!("{}/fuzz/seeds/{folder}", env!("CARGO_MANIFEST_DIR"));
        let mut checked = 0;
        for seed in fs::read_dir(seeds).expect("seeds are committed") {
            check(&fs::read(seed.expect("a seed").path()).expect("a seed can be read"));
            checked += 1;
        }
        assert!(checked >= 8, "{checked} seeds of {folder}");
    }
}
