//! `cargo bench --bench micro`: the pieces of a message's way, and the way itself in memory.
//!
//! Not here: system calls (`load`), instruction counts (`instructions`). Times differ between
//! machines and minutes; compare two runs of criterion's own, never a number with a document.

#[path = "hall/mod.rs"]
mod hall;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fanfare::http::{Fields, HeadReader, parse_head};
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

fn visit(c: &mut Criterion) {
    let mut hall = Hall::new(1, 128);
    c.bench_function("handshake, join and close", |b| b.iter(|| hall.visit()));
}

criterion_group!(benches, mask, frame, utf8, http_head, fan_out, visit);
criterion_main!(benches);
