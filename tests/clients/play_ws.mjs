// The `ws` client of Node: a round (letters.mjs) for each way in which it can ask for compression.
//
// Arguments: the broker's URL, the seed. One line of JSON for each round.

import { round } from "./letters.mjs";
import WebSocket from "ws";

const [url, seed] = process.argv.slice(2);
const whole = 1_048_576;
const windows = [9, 10, 11, 12, 13, 14, 15].map((bits) => ({
  asked: `server_max_window_bits=${bits}`,
  settings: { serverMaxWindowBits: bits, clientMaxWindowBits: bits },
  largest: 65_536,
}));
const contexts = { serverNoContextTakeover: true, clientNoContextTakeover: true };
const rounds = [
  { asked: "", settings: false, largest: whole },
  { asked: "permessage-deflate", settings: {}, largest: whole },
  { asked: "server_no_context_takeover", settings: contexts, largest: whole },
  ...windows,
];

const answer = (socket) => socket.answer;

for (const [nth, { asked, settings, largest }] of rounds.entries()) {
  const open = (to, offered) => {
    // It compresses the smallest too.
    const perMessageDeflate = offered && settings && { ...settings, threshold: 0 };
    const socket = new WebSocket(to, { perMessageDeflate });
    socket.on("upgrade", ({ headers }) => {
      socket.answer = headers["sec-websocket-extensions"] ?? "";
    });
    return socket;
  };
  const room = `ws:${nth}`;
  const result = await round({ open, answer, url, room, seed: Number(seed), largest });
  console.log(JSON.stringify({ client: "ws", asked, ...result }));
}
