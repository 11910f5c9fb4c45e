//! Every bound that is not a setting, and the default of every bound that is one.
//!
//! Not here: the settings themselves (`config`). Invariant: each constant says what breaks when it
//! is too low and when it is too high, and bounds that depend on each other are asserted at compile
//! time. `docs/limits.md` is compared with this file by a test.

// --- receiving -----------------------------------------------------------------------------

/// Receive buffer, one per loop. Too low: whole messages spill. Too high: cold cache.
pub const RECV_BUFFER_BYTES: usize = 256 * 1024;
/// Reads of one connection in one tick. Too low: large messages take many ticks. Too high: one
/// fast publisher holds up the others, and makes bursts that members' sockets have no room for.
pub const READS_PER_TICK_MAX: usize = 2;
/// Bytes that a loop reads in one tick, shared among the connections that have some. Too low: more
/// ticks for the same bytes. Too high: a crowd of floods holds up everyone for the whole of it.
pub const READ_BYTES_PER_TICK_MAX: usize = 4 * 1024 * 1024;
/// A connection's share of that where many have some. Too low: more reads for the same bytes. Too
/// high: fewer of them have their turn in one tick.
pub const READ_SHARE_BYTES_MIN: usize = 16 * 1024;
/// Connections accepted by a loop in one tick. Too low: a storm waits in the accept queue. Too
/// high: a storm stalls delivery.
pub const ACCEPTS_PER_TICK_MAX: usize = 64;
/// Readiness events taken from the kernel in one tick. Too low: more polls. Too high: writes wait
/// behind reads.
pub const EVENTS_PER_TICK_MAX: usize = 1_024;
/// Connections that the kernel completes ahead of us, per listener; somaxconn may lower it. Too
/// low: a storm is retried by clients a second later. Too high: clients wait unseen.
pub const LISTEN_BACKLOG: u16 = 4_096;
/// First pause of accepting when descriptors have run out. Too low: a spin. Too high: a moment's
/// shortage is felt.
pub const ACCEPT_BACK_OFF_MS: u64 = 10;
/// Longest pause of accepting; each one is twice the last. Too low: CPU while nothing can be had.
/// Too high: relief is noticed late.
pub const ACCEPT_BACK_OFF_MS_MAX: u64 = 1_000;
/// Spare bytes that an unfinished message may hold beyond what was received. Too low: one
/// allocation per fragment. Too high: many unfinished messages cost memory nobody sent.
pub const SPILL_SLACK_BYTES: usize = 4 * 1024;

// --- HTTP ----------------------------------------------------------------------------------

/// Request line and header fields together; beyond it 431. Too low: cookies and tokens don't fit.
/// Too high: slow senders hold memory.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Request target; beyond it 414. Too low: long queries fail. Too high: nothing but abuse.
pub const HTTP_TARGET_BYTES_MAX: usize = 8 * 1024;
/// Header fields of one request; beyond it 431. Too low: proxies add a dozen. Too high: parse time.
pub const HTTP_FIELDS_MAX: usize = 100;
/// One chunk-size line of a chunked body, extensions included; beyond it 400. Too low: signed
/// chunks fail. Too high: bytes that are no payload and count against nothing.
pub const HTTP_CHUNK_LINE_BYTES_MAX: usize = 256;
/// Trailer section of a chunked body; beyond it 431. Too low: checksums don't fit. Too high: as
/// the head.
pub const HTTP_TRAILER_BYTES_MAX: usize = 4 * 1024;
/// Arrays and objects within each other in a JSON body; beyond it 400. Too low: honest documents
/// are refused. Too high: a receiver that recurses runs out of stack. `serde_json` allows no more.
pub const JSON_DEPTH_MAX: usize = 127;
/// Bytes discarded while a refused connection drains before its close. Too low: the peer's kernel
/// resets and the answer is lost. Too high: a refused upload is read to its end.
pub const LINGER_BYTES_MAX: usize = 256 * 1024;

// --- frames --------------------------------------------------------------------------------

/// Longest frame header: RFC 6455 §5.2, 64-bit length and mask. Fixed by the RFC.
pub const FRAME_HEADER_BYTES_MAX: usize = 14;
/// Payload of a control frame: RFC 6455 §5.5. Fixed by the RFC.
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;
/// Default for the largest message; beyond it 1009. Too low: honest payloads are refused. Too
/// high: one message fills every outbox.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Highest message bound a config may ask for: lengths in an outbox are 32-bit.
pub const MESSAGE_BYTES_CEILING: usize = 64 * 1024 * 1024;
/// Empty fragments of one message in a row; beyond it 1008. Too low: odd but honest clients are
/// cut. Too high: CPU for bytes that carry nothing.
pub const EMPTY_FRAGMENTS_MAX: u16 = 1024;
/// Bytes that a compressed message may have on the wire beyond its bound and an eighth of it. Too
/// low: short messages that don't compress are refused. Too high: bytes that carry nothing.
pub const COMPRESSED_SLACK_BYTES: usize = 64;
/// DEFLATE streams within one compressed message; beyond it 1007. Too low: senders that end a
/// stream at each flush are cut. Too high: CPU for bytes that carry nothing.
pub const DEFLATE_STREAMS_MAX: usize = 4_096;
/// Buffer for inflated messages that a loop keeps. Too low: it is made anew for common messages.
/// Too high: memory at rest.
pub const INFLATED_KEPT_BYTES: usize = 64 * 1024;
/// Bytes made room for at a time while a message is compressed. Too low: many calls. Too high: what
/// a buffer is larger than its content.
pub const DEFLATE_STEP_BYTES: usize = 64 * 1024;
/// Pongs queued on one connection; further ones replace the newest (RFC 6455 §5.5.3 allows it).
/// Too low: nothing breaks. Too high: a ping flood that is never read grows the outbox.
pub const PONGS_QUEUED_MAX: u8 = 16;

// --- compression ---------------------------------------------------------------------------

/// Default for how hard to try to make a message smaller, 1 to 9. Too low: more bytes. Too high:
/// several times the CPU for a few bytes less (`docs/benchmarks/`).
pub const COMPRESSION_LEVEL: u8 = 1;
/// Default for the smallest message that is compressed. Too low: CPU for a few bytes. Too high:
/// bytes on the wire.
pub const COMPRESSION_THRESHOLD_BYTES: usize = 1024;
/// The same for connections with a context of their own, where that is lower: what resembles the
/// last message gets much smaller. Too low: what is not worth it ends the context. Too high: what
/// the context is for goes as it is.
pub const COMPRESSION_PRIVATE_BYTES: usize = 64;

// --- rooms ---------------------------------------------------------------------------------

/// Bytes of a room's name. Too low: structured names don't fit. Too high: names dominate memory.
pub const ROOM_NAME_BYTES_MAX: usize = 128;
/// Default for the rooms of one process; beyond it a join or publish that would create one is
/// refused. Too low: honest use is refused. Too high: a subscription bomb fills memory.
pub const ROOMS_MAX: usize = 100_000;
/// Default time an empty room is kept, with its `seq` and epoch. Too low: a reload of a page
/// starts a new epoch. Too high: dead rooms count against the bound.
pub const ROOM_GRACE_MS: u64 = 60_000;
/// Patterns with options of their own in the config. Too low: large configs are refused. Too high:
/// the scan at room creation shows.
pub const ROOM_PATTERNS_MAX: usize = 256;

// --- members, history, presence ------------------------------------------------------------

/// Bytes of a user's id. Too low: ids of other systems don't fit. Too high: ids dominate memory.
pub const USER_ID_BYTES_MAX: usize = 128;
/// Bytes of a user's name. Too low: names are cut short. Too high: each message carries it.
pub const USERNAME_BYTES_MAX: usize = 128;
/// Default for the content of one native message; beyond it `too-long`. Too low: documents don't
/// fit. Too high: one message is a burst.
pub const CONTENT_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a request's `id`. Too low: UUIDs with a prefix don't fit. Too high: each reply has it.
pub const REQUEST_ID_BYTES_MAX: usize = 64;
/// Bytes of a `dedupe` key or of a `key` to conflate by. Too low: UUIDs with a prefix don't fit.
/// Too high: keys dominate memory.
pub const DEDUPE_KEY_BYTES_MAX: usize = 128;
/// Arrays and objects within each other in a native request. Too low: honest content is refused.
/// Too high: receivers that recurse run out of stack.
pub const REQUEST_DEPTH_MAX: usize = 64;
/// Fields of one native request. Too low: future clients are refused. Too high: parse time.
pub const REQUEST_FIELDS_MAX: usize = 32;
/// Bytes of the `info` that a user may tell others with its status. Too low: a name and a picture
/// don't fit. Too high: presence lists dominate.
pub const PRESENCE_INFO_BYTES_MAX: usize = 1_024;
/// Rooms of which a loop changes in one tick what users say of being there; who says more waits.
/// Too low: many users take many ticks. Too high: one client in many rooms takes all time.
pub const STATUSES_PER_TICK_MAX: usize = 4_096;
/// Bytes of a notification's title. Too low: titles are cut short. Too high: no device shows it.
pub const NOTIFICATION_TITLE_BYTES_MAX: usize = 256;
/// Bytes of a notification's body. Too low: as above. Too high: as above.
pub const NOTIFICATION_BODY_BYTES_MAX: usize = 4_096;
/// Default for the rooms of one connection; beyond it `too-many-rooms`. Too low: honest use is
/// refused. Too high: one connection fills memory.
pub const ROOMS_PER_CONN_MAX: usize = 1_000;
/// Rooms that every native connection is in from the start. Too low: honest configs are refused.
/// Too high: each handshake is a burst of joins.
pub const DEFAULT_ROOMS_MAX: usize = 16;
/// Requests of one connection whose answers are on the way; beyond it, it is not read. Too low: a
/// pipeline stalls. Too high: answers outgrow the outbox.
pub const REQUESTS_IN_FLIGHT_MAX: u32 = 256;
/// Requests of one connection under way beyond which one with a long answer (a list, or some of a
/// room's past) waits. Too low: a pipeline stalls. Too high: answers outgrow the outbox.
pub const PAGES_IN_FLIGHT_MAX: u32 = 4;
/// Default for messages kept of a room. Too low: a reconnect finds gaps. Too high: memory.
pub const HISTORY_MESSAGES_MAX: u32 = 1_000;
/// Default for bytes kept of a room. Too low: as above. Too high: one room fills memory.
pub const HISTORY_BYTES_MAX: usize = 1024 * 1024;
/// Default for the time a message is kept. Too low: as above. Too high: what should be forgotten.
pub const HISTORY_AGE_MS: u64 = 300_000;
/// Default for bytes kept of all rooms; the oldest go first. Too low: busy rooms evict quiet ones.
/// Too high: memory.
pub const HISTORY_TOTAL_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Messages of one page of history, where a request does not say. Too low: more requests. Too
/// high: more than was wanted.
pub const HISTORY_PAGE_MESSAGES: u32 = 50;
/// Size at which a piece of history is finished and shared with who reads it. Too low: more slices
/// in one write. Too high: what is evicted goes in larger steps.
pub const HISTORY_SEGMENT_BYTES: usize = 64 * 1024;
/// What is unfinished of a room's history and no larger than this is copied to who reads it; a
/// larger piece is finished and shared. Too low: more slices. Too high: copies.
pub const HISTORY_COPY_BYTES_MAX: usize = 4 * 1024;
/// Default for users up to which a room tells of each who comes and goes. Too low: small rooms go
/// without. Too high: each arrival is told to a crowd.
pub const PRESENCE_FULL_USERS_MAX: u32 = 100;
/// Default for users up to which a room collects who came and went. Too low: as above. Too high: a
/// list of a crowd, and its memory.
pub const PRESENCE_DIFF_USERS_MAX: u32 = 1_000;
/// Default time over which a room collects who came and went. Too low: notices dominate. Too high:
/// lists are stale.
pub const PRESENCE_INTERVAL_MS: u32 = 1_000;
/// Default for messages that a batch waits for where a room collects them. Too low: no gain. Too
/// high: batches outgrow a frame.
pub const BATCH_MESSAGES_MAX: u32 = 100;
/// Longest time for which a config may let a batch wait. Too low: little gain where messages are
/// rare. Too high: what is said live comes late.
pub const BATCH_INTERVAL_MS_MAX: u64 = 10_000;
/// Bytes of one batch; one that would grow beyond it is sent. Too low: no gain. Too high: a slow
/// member's outbox is full with one.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Keys under which a room recognises repeats. Too low: a repeat is taken for news. Too high:
/// memory that a client fills.
pub const DEDUPE_KEYS_MAX: usize = 1_024;
/// Time for which a room recognises a repeat. Too low: late repeats are delivered. Too high: as
/// above.
pub const DEDUPE_AGE_MS: u64 = 120_000;
/// Default time for which a session can be resumed. Too low: a tunnel ends it. Too high: memory for
/// who never comes back.
pub const SESSION_TIMEOUT_MS: u64 = 60_000;
/// Sessions that wait to be resumed, per loop; the oldest go first. Too low: a deploy of a proxy
/// ends sessions. Too high: memory for who never comes back.
pub const SESSIONS_PARKED_MAX: usize = 65_536;
/// Bytes of past that one welcome brings to a session that is resumed; rooms beyond are named in it
/// and left. Too low: long absences end in joins one by one. Too high: messages of a size that
/// clients refuse.
pub const RESUME_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Positions that one `hello` may name. Too low: exactness is lost. Too high: parse time.
pub const POSITIONS_MAX: usize = 1_000;
/// Entries of one page of rooms, members or users. Too low: more requests. Too high: answers
/// outgrow the outbox.
pub const LIST_ENTRIES_MAX: u32 = 1_000;
/// Entries of such a page where a request does not say.
pub const LIST_ENTRIES: u32 = 100;
/// Networks of trusted proxies. Too low: large networks must be summed up. Too high: the scan at
/// each handshake shows.
pub const TRUSTED_PROXIES_MAX: usize = 64;
/// Users that a config may make admins. Too low: a team doesn't fit. Too high: nothing but a slip.
pub const ADMINS_MAX: usize = 1_024;
/// Connections of one user, beyond which the oldest are no longer addressed as that user. Too low:
/// devices are missed. Too high: one message to a user is a burst.
pub const CONNECTIONS_PER_USER_MAX: usize = 256;

// --- identity, permission, rates ------------------------------------------------------------

/// Default for the longest token. Too low: tokens that list many rooms are refused. Too high:
/// checking noise costs time.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// The longest token that may be configured: it comes in a request's head. Too low: tokens that
/// list many rooms. Too high: what a head can't hold.
pub const TOKEN_BYTES_CEILING: usize = 12 * 1024;
/// Default for what clocks may differ by. Too low: fresh tokens are refused. Too high: ended ones
/// are let in.
pub const TOKEN_LEEWAY_S: u64 = 5;
/// The most that may be configured. Too low: bad clocks. Too high: ended tokens are let in.
pub const TOKEN_LEEWAY_S_MAX: u64 = 30;
/// Roles of one token. Too low: large organisations. Too high: time at the door.
pub const TOKEN_ROLES_MAX: usize = 32;
/// The name of a role. Too low: paths of groups don't fit. Too high: memory of each connection.
pub const ROLE_NAME_BYTES_MAX: usize = 64;
/// The name of a token (`jti`). Too low: names that others make don't fit. Too high: memory of each
/// connection and revocation.
pub const TOKEN_ID_BYTES_MAX: usize = 128;
/// Patterns of rooms in one claim, or in one role. Too low: lists of rooms. Too high: time of each
/// join.
pub const TOKEN_PATTERNS_MAX: usize = 256;
/// Rooms that a token lets its connection into from the start. Too low: rooms that clients join
/// themselves. Too high: a burst of joins.
pub const TOKEN_AUTOJOIN_MAX: usize = 64;
/// Keys of one set. Too low: rotations. Too high: a search at the door.
pub const TOKEN_KEYS_MAX: usize = 64;
/// A set of keys as it is read. Too low: sets with certificates. Too high: memory for noise.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;
/// Default time after which a set of keys is fetched again. Too low: load on its server. Too high:
/// withdrawn keys live on.
pub const JWKS_REFRESH_MS: u64 = 5 * 60 * 1000;
/// Time for fetching a set of keys. Too low: slow servers. Too high: a start that hangs.
pub const JWKS_TIMEOUT_MS: u64 = 10_000;
/// The first pause after fetching a set of keys has failed; each next one is twice as long. Too
/// low: load on a server in trouble. Too high: a hiccup at the start keeps everyone out.
pub const JWKS_BACK_OFF_MS: u64 = 1_000;
/// The longest pause after fetching a set of keys has failed. Too low: load on a server in trouble.
/// Too high: new keys come late.
pub const JWKS_BACK_OFF_MS_MAX: u64 = 60_000;
/// Redirects that fetching a set of keys follows. Too low: servers that moved. Too high: circles.
pub const JWKS_REDIRECTS_MAX: u32 = 4;
/// Default time for the `auth` message. Too low: slow networks fail. Too high: strangers hold
/// connections.
pub const AUTH_TIMEOUT_MS: u64 = 10_000;
/// Mistakes of a native connection before it has said who it is. Too low: clients that greet first
/// fail. Too high: strangers make work.
pub const UNAUTHENTICATED_MISTAKES_MAX: u32 = 16;
/// Time before a token's end at which its connection is told. Too low: no time to get a new one.
/// Too high: short tokens are always about to end.
pub const TOKEN_WARNING_MS: u64 = 30_000;
/// Revocations in force. Too low: large clean-ups are refused. Too high: memory on each loop.
pub const REVOCATIONS_MAX: usize = 65_536;
/// Roles that a configuration may describe. Too low: large organisations. Too high: nothing but a
/// slip.
pub const ROLES_MAX: usize = 256;
/// Origins that may be allowed. Too low: many sites. Too high: the scan at each handshake shows.
pub const ORIGINS_MAX: usize = 256;
/// What is shown of an origin that was refused. Too low: long names can't be told apart. Too high:
/// strangers fill the log.
pub const ORIGIN_SHOWN_BYTES_MAX: usize = 128;
/// Keys of servers. Too low: rotations. Too high: nothing but a slip.
pub const API_KEYS_MAX: usize = 16;
/// The shortest key of a server. Too low: it can be guessed. Too high: good ones are refused.
pub const API_KEY_BYTES_MIN: usize = 16;
/// The longest one. Too low: good ones are refused. Too high: what a head can't hold.
pub const API_KEY_BYTES_MAX: usize = 512;
/// Users that may log in with a password. Too low: a team doesn't fit. Too high: nothing but a
/// slip.
pub const LOGIN_USERS_MAX: usize = 1_024;
/// Default life of a token that is issued for a password. Too low: people log in again. Too high:
/// who left stays.
pub const LOGIN_TTL_MS: u64 = 24 * 60 * 60 * 1000;
/// Logins that wait for their password to be checked. Too low: a class that logs in at once. Too
/// high: answers come late.
pub const LOGINS_QUEUED_MAX: usize = 64;
/// Logins by one user, good or bad, in one minute. Too low: slips of the finger. Too high:
/// guessing.
pub const LOGINS_PER_MINUTE_MAX: u32 = 10;
/// Names whose logins within a minute are counted, known or not. Too low: guessing at many names
/// keeps others out. Too high: memory for noise.
pub const LOGIN_NAMES_MAX: usize = 16_384;
/// A login or a revocation as the body of a request. Too low: long passwords. Too high: memory for
/// strangers.
pub const FIELDS_BYTES_MAX: usize = 4 * 1024;
/// How much of a user's or an address's rate its home lends a loop at a time. Too low: loops ask
/// for each message. Too high: what one loop holds the others miss.
pub const RATE_LOAN_MS: u64 = 100;
/// How much of its rate a bucket holds when it is full. Too low: honest bursts are refused. Too
/// high: a burst is a flood.
pub const RATE_BURST_MS: u64 = 1_000;
/// Refusals in a row after which a connection is closed. Too low: clients have no time to see the
/// error. Too high: who does not listen goes on.
pub const RATE_VIOLATIONS_MAX: u32 = 10;
/// A header of the PROXY protocol, extensions included. Too low: proxies that say much. Too high:
/// memory for strangers.
pub const PROXY_HEADER_BYTES_MAX: usize = 4_096;
/// Hops of `X-Forwarded-For` or `Forwarded` that are looked at. Too low: long chains of proxies.
/// Too high: time for noise.
pub const FORWARDED_HOPS_MAX: usize = 64;
/// Of the memory that there is, how much may be in use before new work is refused. Too low: memory
/// lies idle. Too high: the kernel kills.
pub const MEMORY_PERCENT_MAX: u64 = 90;
/// How often memory is looked at. Too low: system calls. Too high: a burst is seen late.
pub const MEMORY_SAMPLE_MS: u64 = 250;
/// Slow members closed at a time while memory is short. Too low: the kernel is faster. Too high:
/// more than needed.
pub const SHED_PER_TICK_MAX: usize = 16;

// --- loops and links -----------------------------------------------------------------------

/// Loops of one process. Too low: large machines idle. Too high: a room's table of loops grows.
pub const LOOPS_MAX: usize = 64;
/// Commands a loop may have under way at one home. Too low: a hop's latency bounds throughput.
/// Too high: parked commands hold memory.
pub const CREDIT_COMMANDS: u32 = 4_096;
/// Payload bytes a loop may have under way at one home. Too low: large messages crawl. Too high: as
/// above.
pub const CREDIT_BYTES: u32 = 4 * 1024 * 1024;
/// Batches in a loop's inbox. Too low: senders hold batches back. Too high: a stalled loop is
/// noticed late.
pub const INBOX_BATCHES_MAX: usize = 1_024;
/// Bytes in a loop's inbox. Too low: large bursts wait at the home. Too high: a stalled loop holds
/// memory.
pub const INBOX_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes a home keeps for one destination loop before it parks commands. Too low: bursts park.
/// Too high: memory beside a stalled loop.
pub const OUTGOING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Inbox parcels taken in one tick. Too low: a burst takes many ticks. Too high: reads wait.
pub const INBOX_PARCELS_PER_TICK_MAX: usize = 256;

// --- writing -------------------------------------------------------------------------------

/// Default for the bytes an outbox may hold. Too low: what a loop takes in at a time looks like a
/// slow reader. Too high: slow readers hold memory.
pub const OUTBOX_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Default for the messages an outbox may hold. Too low: bursts of small messages disconnect.
/// Too high: accounting by message means little.
pub const OUTBOX_MESSAGES_MAX: u32 = 16 * 1024;
/// Gaps that wait in an outbox to be told. Too low: their ranges span what was received, which
/// clients have to take out. Too high: a member that reads little is told more than it gets.
pub const GAPS_QUEUED_MAX: u16 = 4_096;
/// Output above which a connection that makes us answer (echo, pipelined requests) is not read.
/// Too low: pipelining stalls. Too high: memory for peers that don't read.
pub const OUTBOX_HIGH_WATER_BYTES: usize = 256 * 1024;
/// What a room's stalled members wait for is collected in pieces of this size. Too low: a buffer's
/// own cost beside small messages. Too high: a piece is kept for the little of it that is left.
pub const BACKLOG_SEGMENT_BYTES: usize = 64 * 1024;
/// Slices of one vectored write. Too low: more system calls. Too high: stack, and IOV_MAX.
pub const WRITEV_SLICES_MAX: usize = 64;
/// Connections written between two looks at the poll. Too low: polling shows. Too high: a large
/// room stalls the rest.
pub const WRITES_PER_SLICE_MAX: usize = 256;
/// Bytes of rooms' messages that a loop lays out while a connection waits for its turn to be
/// written; beyond it, it reads no publisher and takes no batch. Too low: it writes in small steps.
/// Too high: memory, and a turn so long that healthy readers look slow.
pub const UNOFFERED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Members up to which a room's members are flushed first. Too low: small rooms wait behind large
/// ones. Too high: the order means nothing.
pub const SMALL_ROOM_MEMBERS_MAX: usize = 256;
/// Unsent bytes the kernel may hold per socket before it reports it full (`TCP_NOTSENT_LOWAT`). Too
/// low: more wake-ups. Too high: backlog hides where no policy can reach it.
pub const NOTSENT_LOWAT_BYTES: u32 = 128 * 1024;

// --- connections and time ------------------------------------------------------------------

/// Default for connections in all; beyond it 503. The descriptor limit may lower it.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Connections beyond the limit that are kept just long enough to be told 503, per loop. Too low:
/// a refused client sees a reset. Too high: refusals hold descriptors.
pub const REFUSALS_MAX: usize = 64;
/// Descriptors kept for everything that is no client connection. Too low: EMFILE under load. Too
/// high: connections that could have been served.
pub const DESCRIPTORS_RESERVED: usize = 64;
/// Default time for an HTTP handshake, and for each request. Too low: slow networks fail. Too
/// high: slow senders hold descriptors.
pub const HANDSHAKE_TIMEOUT_MS: u64 = 10_000;
/// Time a kept-alive HTTP connection may rest between requests. Too low: clients reconnect for each
/// request. Too high: idle descriptors.
pub const HTTP_IDLE_TIMEOUT_MS: u64 = 60_000;
/// Slowest body: each such number of bytes buys a request one more second. Too low: slow senders
/// hold memory for long. Too high: slow networks fail.
pub const BODY_BYTES_PER_SECOND_MIN: u64 = 16 * 1024;
/// Default silence after which a ping is sent. Too low: radio wakes. Too high: proxies cut first.
pub const HEARTBEAT_INTERVAL_MS: u64 = 30_000;
/// Default time for any sign of life after the first ping. Too low: stalls look like death.
pub const HEARTBEAT_TIMEOUT_MS: u64 = 10_000;
/// Pings sent within the heartbeat time-out. Too low: one lost packet kills. Too high: noise.
pub const HEARTBEAT_PINGS: u8 = 3;
/// Default time for the peer's half of a close. Too low: late data is cut. Too high: descriptors.
pub const CLOSE_TIMEOUT_MS: u64 = 5_000;
/// Default time over which closes are spread when draining. Too low: a reconnect storm. Too high:
/// slow deploys.
pub const DRAIN_WINDOW_MS: u64 = 5_000;
/// Default bound on the whole drain. Too low: queues are cut. Too high: supervisors kill first.
pub const DRAIN_TIMEOUT_MS: u64 = 30_000;
/// Time for every loop's answer to a question that spans loops. Too low: busy loops look dead.
/// Too high: health checks time out first.
pub const GATHER_TIMEOUT_MS: u64 = 1_000;
/// Questions under way that one loop has asked. Too low: scrapes collide. Too high: memory for
/// nothing.
pub const GATHERS_MAX: usize = 256;
/// Time after which a batch that an inbox did not take is offered again. Too low: the loop spins.
/// Too high: latency behind a stall.
pub const HELD_BATCH_RETRY_MS: u64 = 1;
/// Notices for the log kept between two looks. Too low: causes are missing. Too high: a storm
/// fills memory.
pub const NOTICES_MAX: usize = 1_024;
/// Log lines of one kind in one second; more are counted and summed up. Too low: causes are
/// missing. Too high: a storm of errors is a storm of lines.
pub const LOG_LINES_PER_SECOND_MAX: u32 = 10;
/// Seconds after which a client refused for want of room may try again. Too low: refusals are
/// most of the load. Too high: room that is free again stays empty.
pub const RETRY_AFTER_S: u32 = 5;

const _: () = assert!(RECV_BUFFER_BYTES >= HTTP_HEAD_BYTES_MAX + FRAME_HEADER_BYTES_MAX);
const _: () = assert!(JWKS_BACK_OFF_MS > 0 && JWKS_BACK_OFF_MS <= JWKS_BACK_OFF_MS_MAX);
const _: () = assert!(HTTP_TARGET_BYTES_MAX < HTTP_HEAD_BYTES_MAX);
const _: () = assert!(WRITEV_SLICES_MAX <= 1024, "IOV_MAX on Linux");
const _: () = assert!(INBOX_BYTES_MAX >= OUTGOING_BYTES_MAX, "a full outgoing must fit an inbox");
const _: () = assert!(OUTBOX_BYTES_MAX >= UNOFFERED_BYTES_MAX + OUTGOING_BYTES_MAX, "one burst");
const _: () = assert!(OUTBOX_BYTES_MAX >= MESSAGE_BYTES_MAX, "an outbox must hold one message");
const _: () = assert!(MESSAGE_BYTES_CEILING < u32::MAX as usize / 4, "32-bit ranges in an outbox");
const _: () = assert!(LOOPS_MAX <= u8::MAX as usize, "LoopId is a byte");
const _: () = assert!(HEARTBEAT_PINGS > 0);
const _: () =
    assert!(CONTENT_BYTES_MAX <= MESSAGE_BYTES_MAX && BATCH_BYTES_MAX <= OUTBOX_BYTES_MAX);
const _: () = assert!(PAGES_IN_FLIGHT_MAX >= 1 && PAGES_IN_FLIGHT_MAX <= REQUESTS_IN_FLIGHT_MAX);
const _: () = assert!(PAGES_IN_FLIGHT_MAX as usize * HISTORY_BYTES_MAX < OUTBOX_BYTES_MAX);
const _: () = assert!(HISTORY_COPY_BYTES_MAX <= HISTORY_SEGMENT_BYTES);
const _: () = assert!(HISTORY_SEGMENT_BYTES <= HISTORY_BYTES_MAX);
const _: () = assert!(ACCEPT_BACK_OFF_MS > 0 && ACCEPT_BACK_OFF_MS <= ACCEPT_BACK_OFF_MS_MAX);
const _: () = assert!(SMALL_ROOM_MEMBERS_MAX >= 1 && WRITES_PER_SLICE_MAX >= 1);
