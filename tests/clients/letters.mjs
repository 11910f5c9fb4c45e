// What a client does in a round, in Node and in a page: letters of every size, sent and compared.
//
// `open(url, offered)` gives a WebSocket as browsers have it, `answer(socket)` the extensions that
// the broker chose. A round goes to /echo, one letter at a time and then all at once, and to a raw
// room with two members, one that offers compression and one that does not, where the client can
// choose; what either sends, both must get, in order.

const SIZES = [0, 1, 125, 126, 127, 1_023, 1_024, 65_535, 65_536, 1_048_576];
const WORDS = '{"symbol":"ABC","price":"1.234,50 €","volume":200},';
const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// xorshift32; what it gives no compressor makes much smaller.
function random(size, seed) {
  const bytes = new Uint8Array(size);
  let state = seed | 1;
  for (let at = 0; at < size; at += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

function repeated(size) {
  const words = new TextEncoder().encode(WORDS);
  const bytes = new Uint8Array(size).fill("x".charCodeAt(0));
  for (let at = 0; at + words.length <= size; at += words.length) bytes.set(words, at);
  return bytes;
}

function letters(seed, largest) {
  const all = [];
  for (const [nth, size] of SIZES.filter((size) => size <= largest).entries()) {
    const noise = random(size, seed + nth);
    const text = new TextDecoder();
    const digits = noise.map((byte) => DIGITS.charCodeAt(byte % 64));
    all.push(noise, repeated(size), text.decode(digits), text.decode(repeated(size)));
  }
  return all;
}

function same(sent, got) {
  if (typeof sent === "string" || typeof got === "string") return sent === got;
  const bytes = new Uint8Array(got);
  return bytes.length === sent.length && bytes.every((byte, at) => byte === sent[at]);
}

const told = (letter) => `${typeof letter} of ${letter?.length ?? letter?.byteLength}`;

// A WebSocket whose messages are taken one by one.
class Member {
  #got = [];
  #waiting = [];

  constructor(socket) {
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    const ended = (why) => (event) => this.#put({ fault: `${why} ${event.code ?? event.message}` });
    socket.onmessage = ({ data }) => this.#put({ data });
    socket.onclose = ended("closed");
    this.opened = new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = (event) => reject(new Error(`not opened: ${event.message ?? "error"}`));
    });
  }

  #put(item) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(item);
    else this.#got.push(item);
  }

  async next() {
    const item = this.#got.shift() ?? (await new Promise((resolve) => this.#waiting.push(resolve)));
    if (item.fault) throw new Error(item.fault);
    return item.data;
  }

  // Leaves, and is gone when this returns.
  leave() {
    return new Promise((resolve) => {
      this.socket.onclose = resolve;
      this.socket.close(1000);
    });
  }
}

export async function round({ open, answer, url, room, seed, largest }) {
  const result = { negotiated: [], cases: 0, faults: [] };
  const all = letters(seed, largest);
  const take = async (member, sent, where) => {
    const got = await member.next();
    result.cases += 1;
    if (!same(sent, got)) result.faults.push(`${where}: sent ${told(sent)}, got ${told(got)}`);
  };
  const exchange = async (sender, members, where) => {
    for (const letter of all) {
      sender.socket.send(letter);
      for (const member of members) await take(member, letter, `${where}, one by one`);
    }
  };
  const burst = async (sender, members, where) => {
    for (const letter of all) sender.socket.send(letter);
    for (const member of members) {
      for (const letter of all) await take(member, letter, `${where}, at once`);
    }
  };
  const join = async (path, offers) => {
    const member = new Member(open(url + path, offers));
    await member.opened;
    result.negotiated.push(answer(member.socket));
    // In a room, its own message says that it has joined.
    member.socket.send("here");
    await member.next();
    return member;
  };

  const echo = await join("/echo", true);
  await exchange(echo, [echo], "echo");
  await burst(echo, [echo], "echo");
  await echo.leave();

  const offering = await join(`/raw/${room}`, true);
  const plain = await join(`/raw/${room}`, false);
  await offering.next();
  await exchange(offering, [offering, plain], "offering member");
  await burst(plain, [plain, offering], "plain member");
  await Promise.all([plain.leave(), offering.leave()]);
  return result;
}
