//! Compression from handshake to frames: who gets which bytes, what is shared, and what is refused.

use crate::broker::{Compression, ConnKey, Overflow, RawDrops, RoomOptions};
use crate::engine::Progress;
use crate::engine::rig::{Rig, frame};
use crate::engine::settings::{CompressionSettings, Settings};
use crate::limits::{OUTBOX_HIGH_WATER_BYTES, UNOFFERED_BYTES_MAX};
use crate::ws::{
    self, Agreement, Context, DataKind, Decoded, DeflateOffer, Deflated, Deflater, Inflater, Level,
    Message, Reader, Role, Rsv1, Rules, WindowBits, WindowClass,
};

const THRESHOLD: usize = 64;

/// All contexts kept, windows full.
const BARE: DeflateOffer = DeflateOffer {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: None,
    client_max_window_bits: ws::ClientWindow::Unsaid,
};
const SMALL: DeflateOffer = DeflateOffer { server_max_window_bits: Some(WindowBits::Ten), ..BARE };

fn rig(compression: Compression, contexts_max: usize) -> Rig {
    let settings = CompressionSettings {
        echo: compression,
        threshold_bytes: THRESHOLD,
        contexts_max,
        ..CompressionSettings::default()
    };
    let settings = Settings { compression: settings, echo_route: true, ..Settings::default() };
    Rig::with(RoomOptions { compression, ..RoomOptions::default() }, settings)
}

/// A client that offered something, past its handshake.
struct Client {
    key: ConnKey,
    agreed: Option<Agreement>,
    inflater: Inflater,
    reader: Reader,
}

impl Client {
    fn join(rig: &mut Rig, offer: DeflateOffer) -> Self {
        Self::open(rig, "/raw/room", offer)
    }

    fn open(rig: &mut Rig, target: &str, offer: DeflateOffer) -> Self {
        let key = rig.ask_offering(target, Some(offer));
        rig.shard.end_tick(rig.now);
        let answer = rig.read_all(key);
        let checked = ws::check_response(&answer, &[7; 16], Some(offer));
        let Ok(Decoded::Complete(accepted)) = checked else { panic!("{checked:?}") };
        let kept = accepted.deflate.is_some_and(|agreed| !agreed.server_no_context_takeover);
        let inflater = Inflater::new(if kept { Context::Kept } else { Context::Reset });
        Self { key, agreed: accepted.deflate, inflater, reader: Reader::default() }
    }

    /// The payloads that it gets, and how many bytes they were on the wire.
    fn read(&mut self, rig: &mut Rig) -> (Vec<Vec<u8>>, usize) {
        let mut wire = rig.read_all(self.key);
        let bytes = wire.len();
        let rsv1 = self.agreed.map_or(Rsv1::Reserved, |_| Rsv1::Compressed);
        let rules = Rules { role: Role::Client, rsv1, message_bytes_max: 1 << 20 };
        let (mut payloads, mut at) = (Vec::new(), 0);
        while at < wire.len() {
            let step = self.reader.read(&mut wire[at..], &rules).expect("good frames");
            at += step.consumed;
            match step.message.expect("whole messages") {
                Message::Data { payload, .. } => payloads.push(payload.to_vec()),
                Message::Compressed { kind, payload } => {
                    let inflated = self.inflater.message(kind, &payload, 1 << 20);
                    payloads.push(inflated.expect("it inflates").to_vec());
                }
                other @ (Message::Ping(_) | Message::Pong(_) | Message::Close(_)) => {
                    panic!("{other:?}")
                }
            }
        }
        (payloads, bytes)
    }
}

/// A payload of so many bytes that compresses well.
fn payload(bytes: usize, nth: u8) -> Vec<u8> {
    b"0123456789 such as one finds anywhere "
        .iter()
        .copied()
        .cycle()
        .take(bytes - 1)
        .chain([nth])
        .collect()
}

fn compressed_frame(payload: &[u8]) -> Vec<u8> {
    let mut deflater = Deflater::new(WindowClass::Full, Level::MIN, Context::Reset);
    let mut frame = Vec::new();
    let deflated = deflater.push_masked_frame(&mut frame, DataKind::Binary, payload, [1, 2, 3, 4]);
    assert!(matches!(deflated, Deflated::Smaller { .. }));
    frame
}

#[test]
fn a_message_is_compressed_once_and_everybody_gets_it() {
    let mut rig = rig(Compression::Shared, 0);
    let plain = rig.settled(true);
    let mut full: Vec<Client> = (0..3).map(|_| Client::join(&mut rig, BARE)).collect();
    let mut small = Client::join(&mut rig, SMALL);
    let payload = payload(1_000, 1);
    rig.publish(plain, &payload);
    rig.shard.end_tick(rig.now);
    assert_eq!(rig.shard.counters().deflated_messages, 2, "once for each window");
    assert_eq!(rig.read_all(plain), frame(&payload));
    let wires: Vec<Vec<u8>> = full.iter().map(|client| rig.offered(client.key)).collect();
    assert!(wires.windows(2).all(|two| two[0] == two[1]), "the same bytes for all");
    assert!(wires[0].len() < 200 && wires[0][0] == 0xC2, "compressed: {:?}", wires[0].len());
    let saved = 3 * (frame(&payload).len() - wires[0].len());
    for client in &mut full {
        assert_eq!(client.read(&mut rig).0, std::slice::from_ref(&payload));
    }
    let (payloads, bytes) = small.read(&mut rig);
    assert_eq!(payloads, std::slice::from_ref(&payload));
    let saved = saved + frame(&payload).len() - bytes;
    assert_eq!(rig.shard.counters().deflate_bytes_saved, saved as u64);
}

#[test]
fn what_is_short_or_does_not_get_smaller_goes_as_it_is() {
    let mut rig = rig(Compression::Shared, 0);
    let mut client = Client::join(&mut rig, BARE);
    let noise: Vec<u8> = {
        let mut dice = fastrand::Rng::with_seed(1);
        (0..1_000).map(|_| dice.u8(..)).collect()
    };
    let long = payload(THRESHOLD, 2);
    for (payload, deflated) in [(&long[1..], 0), (&noise[..], 0), (&long[..], 1)] {
        rig.publish(client.key, payload);
        rig.shard.end_tick(rig.now);
        let (payloads, bytes) = client.read(&mut rig);
        assert_eq!(payloads, [payload.to_vec()]);
        assert_eq!(bytes < frame(payload).len(), deflated == 1);
        assert_eq!(rig.shard.counters().deflated_messages, deflated);
    }
    // In one tick, some of each, in their order.
    for payload in [&long[1..], &noise, &long] {
        rig.publish(client.key, payload);
    }
    rig.shard.end_tick(rig.now);
    assert_eq!(client.read(&mut rig).0, [long[1..].to_vec(), noise, long]);
}

#[test]
fn a_compressed_message_is_published_as_what_it_says() {
    let mut rig = rig(Compression::Shared, 0);
    let plain = rig.settled(true);
    let mut client = Client::join(&mut rig, BARE);
    let payload = payload(2_000, 3);
    for _ in 0..3 {
        rig.shard.handle_bytes(client.key, &mut compressed_frame(&payload), rig.now);
        rig.shard.end_tick(rig.now);
        assert_eq!(rig.read_all(plain), frame(&payload));
        assert_eq!(client.read(&mut rig).0, std::slice::from_ref(&payload));
    }
    let counters = rig.shard.counters();
    assert_eq!((counters.inflated_messages, counters.inflate_bytes_out), (3, 6_000));
    assert!(counters.inflate_bytes_in < 600);
}

#[test]
fn bombs_and_broken_streams_end_their_sender_alone() {
    let bomb = compressed_frame(&vec![0; 64 << 20]);
    assert!(bomb.len() < 1 << 20);
    let broken = [&[0xC2, 0x83, 0, 0, 0, 0][..], &[0xFF; 3]].concat();
    for (wire, code) in [(bomb, 1009_u16), (broken, 1007)] {
        let mut rig = rig(Compression::Shared, 0);
        let bystander = rig.settled(true);
        let client = Client::join(&mut rig, BARE);
        let held = rig.shard.counters().spill_bytes;
        for piece in wire.chunks(100_000) {
            rig.shard.handle_bytes(client.key, &mut piece.to_vec(), rig.now);
        }
        let close = rig.read_all(client.key);
        assert_eq!((close[0], &close[2..4]), (0x88, &code.to_be_bytes()[..]), "{code}");
        assert_eq!(rig.shard.counters().spill_bytes, held);
        rig.publish(bystander, b"still here");
        rig.shard.end_tick(rig.now);
        assert_eq!(rig.read_all(bystander), frame(b"still here"));
    }
}

#[test]
fn without_agreement_a_compressed_frame_is_a_breach() {
    let mut off = rig(Compression::Off, 0);
    let client = Client::join(&mut off, BARE);
    assert_eq!(client.agreed, None);
    off.shard.handle_bytes(client.key, &mut compressed_frame(&payload(100, 1)), off.now);
    assert_eq!(off.read_all(client.key)[2..4], 1002_u16.to_be_bytes());
}

#[test]
fn a_context_of_its_own_makes_what_repeats_small() {
    for target in ["/raw/room", "/echo"] {
        let mut rig = rig(Compression::Private, 1);
        let mut client = Client::open(&mut rig, target, BARE);
        let agreed = client.agreed.expect("an agreement");
        assert!(!agreed.server_no_context_takeover && !agreed.client_no_context_takeover);
        assert_eq!(rig.shard.counters().contexts, 1);
        let mut dice = fastrand::Rng::with_seed(3);
        // The fastest level makes nothing smaller but what repeats.
        let half: String = (0..250).map(|_| dice.alphanumeric()).collect();
        let text = half.repeat(2).into_bytes();
        let mut deflater = Deflater::new(WindowClass::Full, Level::MIN, Context::Kept);
        let mut sizes = Vec::new();
        for _ in 0..3 {
            let mut wire = Vec::new();
            deflater.push_masked_frame(&mut wire, DataKind::Text, &text, [5, 6, 7, 8]);
            rig.shard.handle_bytes(client.key, &mut wire, rig.now);
            rig.shard.end_tick(rig.now);
            let (payloads, bytes) = client.read(&mut rig);
            assert_eq!(payloads, std::slice::from_ref(&text), "{target}");
            sizes.push(bytes);
        }
        assert!(sizes[0] > 200 && sizes[1] < 50 && sizes[2] < 50, "{target}: {sizes:?}");
        rig.shard.handle_error(client.key, rig.now);
        while rig.shard.poll_action().is_some() {}
        assert_eq!(rig.shard.counters().contexts, 0, "it goes with its connection");
    }
}

#[test]
fn short_messages_that_resemble_each_other_are_worth_a_context() {
    let compression = CompressionSettings { contexts_max: 1, ..CompressionSettings::default() };
    let options = RoomOptions { compression: Compression::Private, ..RoomOptions::default() };
    let mut rig = Rig::with(options, Settings { compression, ..Settings::default() });
    let mut client = Client::join(&mut rig, BARE);
    let mut sizes = Vec::new();
    for nth in 0..3 {
        let price = format!(
            "{{\"symbol\":\"GOLD\",\"bid\":\"2041.1{nth}\",\"ask\":\"2041.9{nth}\",\"currency\":\"EUR\"}}"
        );
        rig.publish(client.key, price.as_bytes());
        rig.shard.end_tick(rig.now);
        let (payloads, bytes) = client.read(&mut rig);
        assert_eq!(payloads, [price.into_bytes()]);
        sizes.push(bytes);
    }
    assert!(sizes[2] < 30, "{sizes:?}");
}

#[test]
fn past_the_budget_the_shared_compression_is_agreed_to() {
    let mut rig = rig(Compression::Private, 2);
    let clients: Vec<Client> = (0..3).map(|_| Client::join(&mut rig, BARE)).collect();
    let kept: Vec<bool> = clients
        .iter()
        .map(|client| !client.agreed.expect("an agreement").server_no_context_takeover)
        .collect();
    assert_eq!(kept, [true, true, false]);
    let counters = rig.shard.counters();
    assert_eq!((counters.contexts, counters.contexts_refused), (2, 1));
    assert_eq!(counters.upgrades_compressed, 3);
}

#[test]
fn where_messages_are_dropped_nobody_has_a_context() {
    let options = RoomOptions {
        compression: Compression::Private,
        overflow: Overflow::Latest,
        raw_drops: RawDrops::Silent,
        ..RoomOptions::default()
    };
    let compression = CompressionSettings { contexts_max: 9, ..CompressionSettings::default() };
    let settings = Settings { compression, ..Settings::default() };
    let mut rig = Rig::with(options, settings);
    let agreed = Client::join(&mut rig, BARE).agreed.expect("the shared compression");
    assert!(agreed.server_no_context_takeover);
}

#[test]
fn who_has_a_context_and_stalls_is_cut_at_the_bound() {
    let compression = CompressionSettings { contexts_max: 1, ..CompressionSettings::default() };
    let options = RoomOptions {
        compression: Compression::Private,
        outbox_bytes_max: 50_000,
        ..RoomOptions::default()
    };
    let mut rig = Rig::with(options, Settings { compression, ..Settings::default() });
    let speaker = rig.settled(true);
    let client = Client::join(&mut rig, BARE);
    rig.publish(speaker, b"first");
    rig.shard.end_tick(rig.now);
    rig.write(client.key, 0, Progress::Blocked);
    let mut dice = fastrand::Rng::with_seed(4);
    for nth in 1..=50 {
        let noise: Vec<u8> = (0..1_000).map(|_| dice.u8(..)).collect();
        rig.publish(speaker, &noise);
        rig.shard.end_tick(rig.now);
        rig.read_all(speaker);
        let closed = rig.offered(client.key).ends_with(&4101_u16.to_be_bytes());
        assert_eq!(closed, nth == 50, "{nth} messages");
    }
}

/// A rig for a room of private contexts, with one more member without compression, who speaks.
fn private_room(options: RoomOptions) -> (Rig, ConnKey) {
    let compression = CompressionSettings { contexts_max: 99, ..CompressionSettings::default() };
    let options = RoomOptions { compression: Compression::Private, ..options };
    let mut rig = Rig::with(options, Settings { compression, ..Settings::default() });
    let speaker = rig.settled(true);
    (rig, speaker)
}

#[test]
fn who_has_a_context_and_stalls_is_cut_at_the_bound_on_messages() {
    let (mut rig, speaker) =
        private_room(RoomOptions { outbox_messages_max: 10, ..RoomOptions::default() });
    let client = Client::join(&mut rig, BARE);
    rig.publish(speaker, b"first");
    rig.shard.end_tick(rig.now);
    rig.write(client.key, 0, Progress::Blocked);
    for nth in 2..=11 {
        rig.publish(speaker, b"next");
        rig.shard.end_tick(rig.now);
        rig.read_all(speaker);
        let closed = rig.offered(client.key).ends_with(&4101_u16.to_be_bytes());
        assert_eq!(closed, nth == 11, "{nth} messages");
    }
}

#[test]
fn who_has_a_context_and_stalls_keeps_only_what_waits_for_it() {
    let (mut rig, speaker) = private_room(RoomOptions::default());
    let stalled = Client::join(&mut rig, BARE);
    let mut others: Vec<Client> = (0..20).map(|_| Client::join(&mut rig, BARE)).collect();
    rig.write(stalled.key, 0, Progress::Blocked);
    let mut dice = fastrand::Rng::with_seed(6);
    for _ in 0..100 {
        let noise: Vec<u8> = (0..500).map(|_| dice.u8(..)).collect();
        rig.publish(speaker, &noise);
        rig.shard.end_tick(rig.now);
        rig.read_all(speaker);
        for other in &mut others {
            assert_eq!(other.read(&mut rig).0, std::slice::from_ref(&noise));
        }
    }
    let counters = rig.shard.counters();
    assert!(counters.outbox_bytes > 50_000);
    let most = 2 * counters.outbox_bytes + 64 * 1024;
    assert!(counters.pinned_bytes < most, "{} of {most}", counters.pinned_bytes);
}

#[test]
fn a_publisher_waits_until_what_was_compressed_for_each_was_offered() {
    let (mut rig, speaker) = private_room(RoomOptions::default());
    let clients: Vec<Client> = (0..10).map(|_| Client::join(&mut rig, BARE)).collect();
    let mut dice = fastrand::Rng::with_seed(7);
    let noise: Vec<u8> = (0..UNOFFERED_BYTES_MAX / 10).map(|_| dice.u8(..)).collect();
    rig.publish(speaker, &noise);
    rig.shard.end_tick(rig.now);
    assert!(rig.shard.is_behind(), "so much was laid out for ten");
    while let Some(key) = rig.shard.poll_dirty() {
        rig.read_all(key);
    }
    assert!(!rig.shard.is_behind() && clients.len() == 10);
}

#[test]
fn a_control_frame_passes_what_was_compressed_for_one_member() {
    let (mut rig, speaker) = private_room(RoomOptions::default());
    let client = Client::join(&mut rig, BARE);
    let payloads = [payload(2_000, 1), payload(2_000, 2)];
    for payload in &payloads {
        rig.publish(speaker, payload);
    }
    rig.shard.end_tick(rig.now);
    let whole = rig.offered(client.key);
    let begun = rig.write(client.key, 1, Progress::Blocked);
    let mut ping = Vec::new();
    ws::push_masked_frame(&mut ping, ws::Opcode::Ping, b"?", [0; 4]);
    rig.shard.handle_bytes(client.key, &mut ping, rig.now);
    let rest = rig.read_all(client.key);
    let pong = [0x8A, 1, b'?'];
    let at = rest.windows(3).position(|bytes| bytes == pong).expect("a pong");
    assert!(at + 3 < rest.len(), "it stands between the two");
    assert_eq!([&begun, &rest[..at], &rest[at + 3..]].concat(), whole);
}

#[test]
fn echoes_of_bombs_take_turns() {
    let mut rig = rig(Compression::Shared, 0);
    let mut client = Client::open(&mut rig, "/echo", BARE);
    let zeros = vec![0; 1 << 20];
    let mut wire = compressed_frame(&zeros).repeat(20);
    assert!(wire.len() < OUTBOX_HIGH_WATER_BYTES);
    rig.shard.handle_bytes(client.key, &mut wire, rig.now);
    let mut echoed = 0;
    for turn in 1..=20 {
        assert_eq!(rig.shard.counters().inflated_messages, turn, "one at a time");
        echoed += client.read(&mut rig).0.len();
        rig.shard.end_tick(rig.now);
    }
    assert_eq!(echoed, 20);
}

#[test]
fn what_compresses_for_one_connection_is_used_again_and_small() {
    let mut rig = rig(Compression::Shared, 0);
    let client = Client::open(&mut rig, "/echo", BARE);
    rig.shard.handle_bytes(client.key, &mut compressed_frame(&payload(1_000, 1)), rig.now);
    assert!((1..4_096).contains(&rig.shard.scratch.capacity()));
}

#[test]
fn a_batch_has_little_to_spare_whoever_gets_it() {
    // What a batch has to spare would be kept with it by whoever stalls.
    let pinned = |offers: &[Option<DeflateOffer>], bytes: usize| {
        let mut rig = rig(Compression::Shared, 0);
        let keys: Vec<ConnKey> =
            offers.iter().map(|offer| rig.ask_offering("/raw/room", *offer)).collect();
        rig.shard.end_tick(rig.now);
        for key in &keys {
            rig.read_all(*key);
        }
        for nth in 0..33 {
            rig.publish(keys[0], &payload(bytes, nth));
        }
        let before = rig.shard.counters().pinned_bytes;
        rig.shard.end_tick(rig.now);
        let pinned = rig.shard.counters().pinned_bytes - before;
        let frames: u64 = offers.len() as u64 * 33 * 24;
        (pinned, frames + 1_024)
    };
    for bytes in [THRESHOLD - 1, 5_000] {
        let (plain, _) = pinned(&[None], bytes);
        let (packed, _) = pinned(&[Some(BARE)], bytes);
        assert!(packed <= plain, "{bytes}: {packed} beside {plain}");
        let (both, beside) = pinned(&[None, Some(BARE)], bytes);
        let sum = if bytes < THRESHOLD { plain } else { plain + packed };
        // Where there are both forms it grows by an eighth, not by what each room comes to.
        assert!(both <= sum / 8 * 9 + beside, "{bytes}: {both} beside {sum} and {beside}");
    }
}

#[test]
fn guesses_beside_a_secret_tell_nothing() {
    // What one room compresses leaves no trace in what another gets, nor in its own next message.
    let mut rig = rig(Compression::Shared, 0);
    let secret = payload(900, 9);
    let victim = Client::open(&mut rig, "/raw/secret", BARE);
    let mut attacker = Client::open(&mut rig, "/raw/guess", BARE);
    let mut dice = fastrand::Rng::with_seed(5);
    for nth in 0..1_000 {
        let mut guess: Vec<u8> = (0..200).map(|_| dice.alphanumeric() as u8).collect();
        let from = dice.usize(..secret.len() - 40);
        guess.extend_from_slice(&secret[from..from + 40]);
        let mut sizes = Vec::new();
        for with_secret in [false, true] {
            if with_secret {
                rig.publish(victim.key, &secret);
            }
            rig.publish(attacker.key, &guess);
            rig.shard.end_tick(rig.now);
            sizes.push(attacker.read(&mut rig).1);
            rig.read_all(victim.key);
        }
        assert_eq!(sizes[0], sizes[1], "guess {nth}");
    }
}
