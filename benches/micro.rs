//! `cargo bench --bench micro`: the pieces of a message's way, and the way itself in memory.
//!
//! Not here: system calls (`load`), instruction counts (`instructions`). Times differ between
//! machines and minutes; compare two runs of criterion's own, never a number with a document.

#[path = "hall/mod.rs"]
mod hall;
#[path = "setting/keys.rs"]
mod keys;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fanfare::auth::{Grant, Grants, IssuedClaims, Secret, TokenAlg, TokenKeys, TokenRules};
use fanfare::broker::{LoopId, PayloadKind, RoomHandle, RoomPattern};
use fanfare::http::{Fields, HeadReader, parse_head};
use fanfare::protocol::{binary, json as native};
use fanfare::ws::{
    self, Context, DataKind, Deflated, Deflater, FrameHeader, Inflater, Level, Opcode, Reader,
    Role, Rsv1, Rules, Utf8Check, WindowClass,
};
use hall::Hall;
use std::hint::black_box;

const RULES: Rules =
    Rules { role: Role::Server, rsv1: Rsv1::Compressed, message_bytes_max: 1 << 20 };
const HEAD: &[u8] = b"GET /raw/lobby?echo=0 HTTP/1.1\r\nHost: broker.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0\r\n\
    Accept: */*\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n\
    Sec-WebSocket-Version: 13\r\nOrigin: https://broker.example.com\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\n\r\n";

fn mask(c: &mut Criterion) {
    let mut group = c.benchmark_group("mask");
    for bytes in [128_usize, 16 * 1024] {
        let mut payload = vec![7; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("{bytes} bytes"), |b| {
            b.iter(|| ws::apply_mask(black_box([1, 2, 3, 4]), 0, black_box(&mut payload)));
        });
    }
}

fn frame(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame");
    for bytes in [128_usize, 16 * 1024] {
        let mut wire = Vec::new();
        ws::push_masked_frame(&mut wire, Opcode::Binary, &vec![7; bytes], [1, 2, 3, 4]);
        group.bench_function(format!("header of {bytes} bytes"), |b| {
            b.iter(|| FrameHeader::decode(black_box(&wire), Role::Server, Rsv1::Reserved));
        });
        let mut reader = Reader::default();
        // Unmasked again and again: of no matter to binary payloads.
        group.bench_function(format!("message of {bytes} bytes"), |b| {
            b.iter(|| reader.read(black_box(&mut wire), &RULES).map(|step| step.consumed));
        });
    }
}

fn utf8(c: &mut Criterion) {
    let mut group = c.benchmark_group("utf8");
    for (name, text) in [("ascii", "x".repeat(4_096)), ("mixed", "κόσμε €😀 ".repeat(170))]
    {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(format!("{name}, one piece"), |b| {
            b.iter(|| Utf8Check::new().push(black_box(text.as_bytes())));
        });
        group.bench_function(format!("{name}, pieces of 100"), |b| {
            b.iter(|| {
                let mut check = Utf8Check::new();
                let mut pieces = black_box(text.as_bytes()).chunks(100);
                pieces.try_for_each(|piece| check.push(piece))
            });
        });
    }
}

/// JSON of `bytes` bytes, different for each `seed`, as messages of one room are.
fn json(bytes: usize, seed: u64) -> String {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut text = String::from("[");
    while text.len() < bytes {
        let (id, price, ms) = (dice.u32(..), dice.u16(..), dice.u32(..));
        text.push_str(&format!(
            r#"{{"type":"quote","id":"{id:08x}","symbol":"ABC{}","price":{price}.25,"ts":{ms}}},"#,
            id % 97
        ));
    }
    text.truncate(bytes);
    text
}

fn deflate(c: &mut Criterion) {
    let mut group = c.benchmark_group("deflate");
    for bytes in [128, 1_024, 16 * 1_024] {
        let messages: Vec<_> = (0..64).map(|seed| json(bytes, seed)).collect();
        for (window, class) in [(WindowClass::Full, 15), (WindowClass::Small, 9)] {
            for level in [1, 3, 6] {
                let mut deflater =
                    Deflater::new(window, Level::new(level).expect("1 to 9"), Context::Reset);
                let (mut wire, mut frames, mut after) = (Vec::new(), Vec::new(), 0);
                for message in &messages {
                    wire.clear();
                    let text = message.as_bytes();
                    match deflater.push_frame(&mut wire, DataKind::Text, text) {
                        Deflated::Smaller { after: len, .. } => {
                            after += len;
                            frames.push(wire[wire.len() - len..].to_vec());
                        }
                        Deflated::NotSmaller => after += bytes,
                    }
                }
                let name = format!("{bytes} bytes, window {class}, level {level}");
                let mean = after / messages.len();
                eprintln!("{name}: {mean} bytes, {} of {} smaller", frames.len(), messages.len());
                let mut turn = messages.iter().cycle();
                group.bench_function(format!("{name} to {mean}, compress"), |b| {
                    b.iter(|| {
                        wire.clear();
                        let text = turn.next().map_or(&[][..], |text| text.as_bytes());
                        deflater.push_frame(black_box(&mut wire), DataKind::Text, text)
                    });
                });
                if class == 9 || frames.is_empty() {
                    continue;
                }
                let (mut inflater, mut turn) =
                    (Inflater::new(Context::Reset), frames.iter().cycle());
                group.bench_function(format!("{name} from {mean}, inflate"), |b| {
                    b.iter(|| {
                        let frame = turn.next().map_or(&[][..], |frame| frame);
                        let text = inflater.message(DataKind::Text, black_box(frame), 1 << 20);
                        text.map(<[u8]>::len)
                    });
                });
            }
        }
    }
}

fn http_head(c: &mut Criterion) {
    let mut group = c.benchmark_group("http head");
    group.throughput(Throughput::Bytes(HEAD.len() as u64));
    group.bench_function("find its end", |b| {
        b.iter(|| HeadReader::default().read(black_box(HEAD)).map(|step| step.consumed));
    });
    group.bench_function("parse it", |b| {
        b.iter(|| {
            let mut fields = Fields::new();
            parse_head(black_box(HEAD), &mut fields).map(|head| head.path.len())
        });
    });
    group.bench_function("judge its upgrade", |b| {
        let mut fields = Fields::new();
        let head = parse_head(HEAD, &mut fields).expect("a good head");
        b.iter(|| ws::check(black_box(&head)));
    });
}

/// A publication of about `bytes` bytes as a native client sends it.
fn request(bytes: usize) -> String {
    let text = "It is 21.5 degrees in here. ".repeat(bytes / 28 + 1);
    let text = &text[..bytes.saturating_sub(70)];
    format!(
        r#"{{"type":"room-message","id":"m-42","room":"chat:42","content":{{"text":"{text}"}}}}"#
    )
}

fn protocol(c: &mut Criterion) {
    let mut group = c.benchmark_group("native");
    let mut out = Vec::with_capacity(64 * 1024);
    for bytes in [200, 2_000, 20_000] {
        let plain = request(bytes);
        let escaped = plain.replace("here", "\\n");
        let odd = plain.replace("here", "\\ud83d\\ude00");
        for (name, json) in [("plain", &plain), ("escaped", &escaped), ("odd", &odd)] {
            group.throughput(Throughput::Bytes(json.len() as u64));
            group.bench_function(format!("decode {} bytes of {name} JSON", json.len()), |b| {
                b.iter(|| native::decode(black_box(json.as_bytes())).is_ok());
            });
        }
        let text = plain.trim_start_matches('{');
        for (name, kind) in [("JSON", PayloadKind::Json), ("text", PayloadKind::Text)] {
            let item = native::Item {
                room: "chat:42",
                epoch: 0xf00d,
                seq: 123_456,
                time_ms: 1_784_000_000_000,
                sender: br#"{"id":"42","username":"Ada"}"#,
                id: None,
                kind,
                payload: if kind == PayloadKind::Json { plain.as_bytes() } else { text.as_bytes() },
            };
            group.bench_function(format!("item of {bytes} bytes of {name}"), |b| {
                b.iter(|| {
                    out.clear();
                    native::push_item(&mut out, black_box(&item))
                });
            });
        }
        let handle = RoomHandle { home: LoopId(1), slot: 7, generation: 1 };
        group.bench_function(format!("write a record of {bytes} bytes"), |b| {
            b.iter(|| {
                out.clear();
                let payload = black_box(plain.as_bytes());
                binary::push_message(&mut out, handle, 123_456, PayloadKind::Json, payload);
            });
        });
        group.bench_function(format!("read a record of {bytes} bytes"), |b| {
            b.iter(|| binary::decode(black_box(&out)).filter(Result::is_ok).count());
        });
    }
}

fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan-out");
    for (members, messages, bytes) in
        [(10, 1, 128), (1_000, 1, 128), (1_000, 64, 128), (1_000, 1, 16 * 1024), (10_000, 1, 128)]
    {
        let mut hall = Hall::new(members, bytes);
        group.throughput(Throughput::Elements((members * messages) as u64));
        group.bench_function(format!("{members} members, {messages} x {bytes} bytes"), |b| {
            b.iter(|| hall.tick(messages));
        });
    }
}

/// Bytes in, bytes out: at most 1.5 µs.
fn publish_json(c: &mut Criterion) {
    let mut hall = Hall::native(128);
    c.bench_function("publish of 128 bytes in JSON, one member", |b| b.iter(|| hall.tick(1)));
}

fn visit(c: &mut Criterion) {
    let mut hall = Hall::new(1, 128);
    c.bench_function("handshake, join and close", |b| b.iter(|| hall.visit()));
}

/// What a token costs at the door, by how it is signed.
fn token(c: &mut Criterion) {
    let mut group = c.benchmark_group("verify a token");
    for alg in TokenAlg::ALL {
        let (signer, key) = keys::signer(alg).expect("a good key");
        let mut keys = TokenKeys::default();
        match alg.secret_bytes_min() {
            Some(_) => keys.add_hmac(alg, None, &Secret::new(key.as_bytes())),
            None => keys.add_pem(alg, None, key.as_bytes()),
        }
        .expect("a good key");
        let sign = |nth| {
            let claims = IssuedClaims {
                user: format!("user-{nth}"),
                rooms: Some(serde_json::json!({"join": ["chat:*"], "publish": true})),
                exp: 1 << 40,
                ..IssuedClaims::default()
            };
            signer.sign(&claims).expect("a short token")
        };
        let tokens: Vec<String> = (0..64).map(sign).collect();
        let (rules, mut turn) = (TokenRules::default(), tokens.iter().cycle());
        group.bench_function(alg.word(), |b| {
            b.iter(|| {
                let token = turn.next().map_or("", |token| token);
                let verified = keys.verify(black_box(token), &rules, 1_000);
                assert!(verified.is_ok(), "it is good");
                verified
            });
        });
    }
}

/// What a join asks; of many patterns, the last one fits.
fn grants(c: &mut Criterion) {
    let mut group = c.benchmark_group("is it granted");
    for count in [1_usize, 32, 256] {
        let patterns = (1..count).map(|nth| format!("room-{nth}:*")).chain(["chat:*".to_owned()]);
        let patterns = patterns.map(|raw| RoomPattern::parse(&raw).expect("a pattern"));
        let grants = Grants::default().with(Grant::Join, patterns);
        assert!(grants.allows(Grant::Join, "chat:42", "ada"), "the last one fits");
        group.bench_function(format!("{count} patterns"), |b| {
            b.iter(|| grants.allows(Grant::Join, black_box("chat:42"), black_box("ada")));
        });
    }
}

criterion_group!(
    benches,
    mask,
    frame,
    utf8,
    deflate,
    http_head,
    protocol,
    fan_out,
    publish_json,
    visit,
    token,
    grants
);
criterion_main!(benches);
