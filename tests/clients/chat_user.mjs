// One user of a chat room, in Node and in a page: talks, is cut off, comes back, remembers.
//
// `open()` gives a WebSocket as browsers have it, `cut(socket)` ends it as abruptly as can be. A
// user comes back by its session, with its positions or without, or as somebody new who knows a
// position. What was not acknowledged is said again under its dedupe key where the session came
// back, and only there: somebody new is another user, whose keys are others. At the end `told()`
// says everything that was seen, and what was wrong with it.

const WORDS = ['"quoted"', "back\\slash", "größer", "😀", "a/b", "line\nfeed", "\u0001", "plain"];
const CUTS_SHARE = 0.2;
const CUTS_WHILE_JOINING_SHARE = 0.2;
const WAYS = ["session", "session and positions", "positions"];

// mulberry32: the same everywhere for the same seed.
export function dice(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class User {
  #open;
  #cut;
  #dice;
  #socket = null;
  #session = null;
  #offered = null;
  #way = null;
  #last = null;
  #pending = new Map();
  #said = 0;
  #isMember = false;
  #joined = () => {};
  #settled = () => {};
  #ended = () => {};
  #broken = () => {};

  constructor({ name, room, seed, open, cut }) {
    this.name = name;
    this.room = room;
    this.batch = seed % 2 === 1;
    this.#open = open;
    this.#cut = cut;
    this.#dice = dice(seed);
    this.transcript = [];
    this.acks = [];
    this.faults = [];
    this.cuts = 0;
    this.resumed = 0;
    this.rejoined = 0;
    this.ended = new Promise((resolve, reject) => {
      this.#ended = resolve;
      this.#broken = reject; // Nobody goes on whom the broker has closed.
    });
  }

  // Joins, talks and is cut off for so long, until all it said is acknowledged.
  async live(seconds) {
    const end = Date.now() + 1_000 * seconds;
    await this.#connect(null);
    while (Date.now() < end) {
      await pause(100 + 1_800 * this.#dice());
      if (this.#dice() < CUTS_SHARE) await this.#goAndComeBack();
      else this.#say();
    }
    while (this.#pending.size > 0) await new Promise((resolve) => (this.#settled = resolve));
  }

  told() {
    const { name, transcript, acks, faults, cuts, resumed, rejoined } = this;
    return { name, transcript, acks, faults, cuts, resumed, rejoined };
  }

  leave() {
    const socket = this.#socket;
    this.#socket = null;
    socket.close(1000);
  }

  #fault(what) {
    this.faults.push(`${this.name}: ${what}`);
  }

  async #goAndComeBack() {
    for (;;) {
      const socket = this.#socket;
      this.#socket = null; // What it still says is no longer heard.
      this.#isMember = false;
      this.#cut(socket);
      this.cuts += 1;
      await pause(300 * this.#dice());
      const way = WAYS[Math.floor(WAYS.length * this.#dice())];
      const joined = this.#connect(way);
      if (this.#dice() >= CUTS_WHILE_JOINING_SHARE) return joined;
      await Promise.race([joined, pause(20 * this.#dice())]);
    }
  }

  #connect(way) {
    this.#way = way;
    this.#offered = null;
    const socket = this.#open();
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#take(JSON.parse(data));
    };
    socket.onclose = ({ code }) => {
      if (socket !== this.#socket) return;
      this.#broken(new Error(`${this.name}: the broker closed with ${code}; ${this.faults}`));
    };
    socket.onerror = () => {};
    return new Promise((resolve) => (this.#joined = resolve));
  }

  #send(what) {
    this.#socket.send(JSON.stringify(what));
  }

  #say() {
    this.#said += 1;
    const id = `${this.name}-${this.#said}`;
    const word = WORDS[Math.floor(WORDS.length * this.#dice())];
    const content = this.#said % 2 === 0 ? `${id}: ${word}` : { id, word, list: [1, null, true] };
    const message = { type: "room-message", room: this.room, content, id, dedupe: id };
    this.#pending.set(id, message);
    this.#send(message);
  }

  // What the first thing said on a connection is: who it is, or wants to be again.
  #greet() {
    const hello = { type: "hello", id: "hello", batch: this.batch };
    if (this.#way === "session" || this.#way === "session and positions") {
      hello.session = this.#session;
      if (this.#way !== "session") hello.positions = { [this.room]: this.#last };
    }
    this.#send(hello);
  }

  #join() {
    // As somebody new: what is not acknowledged may have been heard or not.
    if (this.#way !== null) this.#way = "positions";
    this.#pending.clear();
    const since = this.#last ? { since: this.#last } : { history: 0 };
    this.#send({ type: "join-room", id: "join", room: this.room, ...since });
  }

  #take(said) {
    switch (said.type) {
      case "welcome":
        return this.#welcomed(said);
      case "room-joined":
        return this.#becameMember(said);
      case "room-message":
        return this.#note(said);
      case "message-batch":
        if (!this.batch) this.#fault("got a batch without asking for it");
        return said.messages.forEach((message) => this.#note(message));
      case "ack":
        return this.#acknowledged(said);
      case "error":
        if (said.id === "hello") return this.#join();
        return this.#fault(JSON.stringify(said));
      case "gap":
        return this.#fault(JSON.stringify(said));
    }
  }

  #welcomed(said) {
    if (said.id !== "hello") {
      this.#offered = said.session;
      this.#greet();
    } else if (this.#way === null || this.#way === "positions") {
      this.#offered = said.session;
      this.#join();
    } else if (said.session !== this.#session) {
      this.#offered = said.session; // The old one is no more.
      this.#join();
    } else {
      this.#offered = said.session;
      const room = said.rooms.find(({ room }) => room === this.room);
      if (room) this.#becameMember(room);
      else this.#join(); // It was cut off before it was a member.
    }
  }

  #becameMember(said) {
    // By session alone it goes on from what was proved to be read, which may be long forgotten.
    const mayRepeat = this.#way === "session";
    if (this.#last && !said.recovered && !mayRepeat) this.#fault(`not recovered: ${said.reason}`);
    for (const message of said.messages) this.#note(message, mayRepeat);
    this.#last ??= { epoch: said.epoch, seq: said.seq };
    this.#isMember = true;
    if (this.#way === "session" || this.#way === "session and positions") {
      this.resumed += 1;
      for (const message of this.#pending.values()) this.#send(message);
    } else {
      this.#session = this.#offered;
      if (this.#way) this.rejoined += 1;
    }
    this.#settled();
    this.#joined();
  }

  #note({ epoch, seq, sender, content }, mayRepeat = false) {
    const last = this.#last;
    if (last && (epoch !== last.epoch || seq > last.seq + 1)) {
      this.#fault(`${epoch} ${seq} after ${last.epoch} ${last.seq}`);
    }
    if (last && seq <= last.seq) {
      if (!mayRepeat) this.#fault(`${seq} again, after ${last.seq}`);
      return;
    }
    this.#last = { epoch, seq };
    this.transcript.push([epoch, seq, sender.id, content]);
    if (content === "end") this.#ended();
  }

  #acknowledged({ id, epoch, seq }) {
    const message = this.#pending.get(id);
    if (!message) return this.#fault(`an ack for ${id}, which nobody waits for`);
    this.#pending.delete(id);
    this.acks.push([epoch, seq, message.content]);
    this.#settled();
  }
}

// Users of one kind, until all of them are quiet.
export async function crowd({ kind, count, room, seed, seconds, open, cut }) {
  const users = Array.from({ length: count }, (_, nth) => {
    const name = `${kind}-${nth}`;
    return new User({ name, room, seed: seed + nth, open, cut });
  });
  await Promise.all(users.map((user) => Promise.race([user.live(seconds), user.ended])));
  return users;
}

// What they have seen, once they have seen the end.
export async function transcripts(users) {
  await Promise.all(users.map((user) => user.ended));
  const told = users.map((user) => user.told());
  for (const user of users) user.leave();
  return told;
}
