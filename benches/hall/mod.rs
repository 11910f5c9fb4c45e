//! A room in memory: one shard, its members, and a kernel that takes everything at once.
//!
//! What is measured here is all that the broker itself does for a delivery, without a system call.

use fanfare::auth::Trust;
use fanfare::broker::{ConnKey, LoopId, Now};
use fanfare::engine::{Admission, HashKey, Progress, Settings, Setup, Shard};
use fanfare::limits::WRITEV_SLICES_MAX;
use fanfare::ws::{self, Opcode};
use std::hint::black_box;
use std::io::IoSlice;
use std::sync::Arc;

/// A shard with one room.
pub(crate) struct Hall {
    pub(crate) shard: Shard,
    publisher: ConnKey,
    frame: Vec<u8>,
    /// A copy of the frame that the shard may unmask.
    input: Vec<u8>,
    pub(crate) now: Now,
}

impl Hall {
    /// One loop without connections.
    pub(crate) fn of(settings: Settings) -> Self {
        let now = Now { mono_ms: 1_000, unix_ms: 1_000 };
        let setup = Setup {
            id: LoopId(0),
            loops: 1,
            room_key: HashKey([1, 2]),
            epoch_key: HashKey([3, 4]),
            settings: Arc::new(settings),
            stopwatch: || 0,
        };
        let publisher = ConnKey { index: 0, generation: 0 };
        let shard = Shard::new(setup, now);
        Self { shard, publisher, frame: Vec::new(), input: Vec::new(), now }
    }

    /// A room of so many members, the last of which publishes messages of so many bytes.
    pub(crate) fn new(members: usize, payload_bytes: usize) -> Self {
        Self::gathered(Settings::default(), members, payload_bytes, |_| None)
    }

    /// The same under those settings, where each member shows what `token` says.
    pub(crate) fn gathered(
        settings: Settings,
        members: usize,
        payload_bytes: usize,
        token: impl Fn(usize) -> Option<String>,
    ) -> Self {
        let mut hall = Self::of(settings);
        for nth in 0..members {
            hall.publisher = hall.open("/raw/hall", token(nth).as_deref());
        }
        let payload = vec![b'.'; payload_bytes];
        ws::push_masked_frame(&mut hall.frame, Opcode::Binary, &payload, [1, 2, 3, 4]);
        hall.deliver();
        let bytes = hall.tick(1);
        let frame_bytes = ws::frame_bytes(payload_bytes);
        assert_eq!(bytes, members * frame_bytes, "everybody is in the room");
        hall
    }

    /// A room with one member, that speaks JSON and publishes strings of so many bytes.
    pub(crate) fn native(content_bytes: usize) -> Self {
        let mut hall = Self::new(1, content_bytes);
        let key = hall.open_native();
        hall.publish_json_as(key, content_bytes);
        hall
    }

    /// From now on that native connection is who publishes: strings of so many bytes.
    pub(crate) fn publish_json_as(&mut self, key: ConnKey, content_bytes: usize) {
        self.send(key, r#"{"type":"join-room","room":"native","history":0,"presence":false}"#);
        self.deliver();
        let content = ".".repeat(content_bytes);
        let text = format!(r#"{{"type":"room-message","room":"native","content":"{content}"}}"#);
        self.frame.clear();
        ws::push_masked_frame(&mut self.frame, Opcode::Text, text.as_bytes(), [1, 2, 3, 4]);
        self.publisher = key;
        let bytes = self.tick(1);
        assert!(bytes > text.len(), "it comes back in an envelope: {bytes} bytes");
    }

    pub(crate) fn open_native(&mut self) -> ConnKey {
        let key = self.open("/ws", None);
        self.deliver();
        key
    }

    /// Somebody asks for a WebSocket there, and may show a token.
    pub(crate) fn open(&mut self, target: &str, token: Option<&str>) -> ConnKey {
        let key = self.shard.handle_open(Admission::Served, Trust::Stranger, None, self.now);
        self.input.clear();
        ws::client_request(&mut self.input, "localhost", target, b"the sample nonce", None);
        if let Some(token) = token {
            self.input.truncate(self.input.len() - b"\r\n".len());
            for part in ["Authorization: Bearer ", token, "\r\n\r\n"] {
                self.input.extend_from_slice(part.as_bytes());
            }
        }
        self.shard.handle_bytes(key, &mut self.input, self.now);
        key
    }

    pub(crate) fn send(&mut self, key: ConnKey, text: &str) {
        self.input.clear();
        ws::push_masked_frame(&mut self.input, Opcode::Text, text.as_bytes(), [1, 2, 3, 4]);
        self.shard.handle_bytes(key, &mut self.input, self.now);
    }

    /// One tick: so many messages come in at once, and go out to everybody. The bytes that went.
    pub(crate) fn tick(&mut self, messages: usize) -> usize {
        self.input.clear();
        for _ in 0..messages {
            self.input.extend_from_slice(&self.frame);
        }
        self.shard.handle_bytes(self.publisher, &mut self.input, self.now);
        self.deliver()
    }

    /// Somebody comes, joins a room of their own, says goodbye and goes. The bytes that they got.
    pub(crate) fn visit(&mut self) -> usize {
        self.visit_showing(None)
    }

    /// The same, and they may show a token.
    pub(crate) fn visit_showing(&mut self, token: Option<&str>) -> usize {
        let key = self.open("/raw/visited", token);
        let welcome = self.deliver();
        self.input.clear();
        ws::push_masked_frame(&mut self.input, Opcode::Close, &[3, 232], [1, 2, 3, 4]);
        self.shard.handle_bytes(key, &mut self.input, self.now);
        let goodbye = self.deliver();
        self.shard.handle_eof(key, self.now);
        while self.shard.poll_action().is_some() {}
        welcome + goodbye
    }

    pub(crate) fn deliver(&mut self) -> usize {
        self.shard.end_tick(self.now);
        while let Some((_, batch)) = self.shard.poll_batch() {
            self.shard.handle_batch(batch, self.now);
        }
        let mut sent = 0;
        while let Some(key) = self.shard.poll_dirty() {
            // As the loop does.
            let bytes = match self.shard.output_whole(key) {
                Some(whole) => black_box(whole).len(),
                None => {
                    let mut slices = [IoSlice::new(&[]); WRITEV_SLICES_MAX];
                    let count = self.shard.output(key, &mut slices);
                    let filled = slices.get(..count).unwrap_or_default();
                    black_box(filled).iter().map(|slice| slice.len()).sum()
                }
            };
            self.shard.handle_written(key, bytes, Progress::Ready, self.now);
            sent += bytes;
        }
        while self.shard.poll_action().is_some() {}
        while self.shard.poll_notice().is_some() {}
        sent
    }
}
