// Members of raw rooms, played by the `ws` client.
//
// The first line of stdin is a list of members, each with its URL, its sender's number and the
// letters that it will send. Once all have joined, "joined" is printed; after a second line they
// send. When each has seen the message that ends its room, one line of JSON tells what each saw.
// A payload is 16 digits over and over: eight for the sender, eight for the message. In binary
// messages the top bit of each byte is set.

import { createInterface } from "node:readline";
import WebSocket from "ws";

const PERIOD = 16;
const END = "eeeeeeee";
const faults = [];

const digits = (number) => number.toString(16).padStart(8, "0");

const flipped = (bytes) => bytes.map((byte) => byte ^ 0x80);

function payload(letter, sender, nth) {
  const head = Buffer.from(digits(sender) + digits(nth));
  return Buffer.alloc(letter.bytes, letter.text ? head : flipped(head));
}

function look(data, isBinary) {
  const head = data.subarray(0, PERIOD);
  if (data.length > PERIOD && !data.subarray(PERIOD).equals(data.subarray(0, -PERIOD))) {
    faults.push(`a payload of ${data.length} bytes is not what was sent`);
  }
  return {
    text: !isBinary,
    bytes: data.length,
    head: (isBinary ? Buffer.from(flipped(head)) : head).toString(),
  };
}

class Member {
  constructor({ url, sender, letters }) {
    this.sender = sender;
    this.letters = letters;
    this.seen = [];
    this.socket = new WebSocket(url);
    this.joined = new Promise((resolve, reject) => {
      this.socket.on("open", resolve);
      this.socket.on("error", reject);
    });
    this.ended = new Promise((resolve) => {
      this.socket.on("message", (data, isBinary) => {
        const seen = look(data, isBinary);
        if (seen.head.startsWith(END)) resolve();
        else this.seen.push(seen);
      });
      this.socket.on("close", (code) => {
        if (code !== 1000) faults.push(`member ${sender} was closed with ${code}`);
        resolve();
      });
    });
  }

  // One after another, each when the one before it has left: that is how order shows.
  async send() {
    for (const [nth, letter] of this.letters.entries()) {
      const bytes = payload(letter, this.sender, nth);
      const data = letter.text ? bytes.toString() : bytes;
      await new Promise((resolve) => this.socket.send(data, resolve));
    }
  }
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const members = JSON.parse((await lines.next()).value).map((plan) => new Member(plan));
await Promise.all(members.map((member) => member.joined));
console.log("joined");
await lines.next();
await Promise.all(members.map((member) => member.send()));
await Promise.all(members.map((member) => member.ended));
console.log(JSON.stringify({ faults, seen: members.map((member) => member.seen) }));
for (const { socket } of members) socket.close(1000);
process.exitCode = 0;
lines.return?.();
