// Users of a chat room (chat_user.mjs), played by the `ws` client of Node.
//
// Arguments: the broker's URL, the room, how many users, the seed, for how many seconds. Prints
// "quiet" when all that was said is acknowledged; once each has seen the message "end", a line of
// JSON with what each has seen.

import { crowd, transcripts } from "./chat_user.mjs";
import WebSocket from "ws";

const [url, room, ...numbers] = process.argv.slice(2);
const [count, seed, seconds] = numbers.map(Number);
let opened = 0;

// None asked for is `fanfare.v1.json` too.
const open = () => new WebSocket(`${url}/ws`, (opened += 1) % 2 ? ["fanfare.v1.json"] : []);
const cut = (socket) => socket.terminate();

const users = await crowd({ kind: "ws", count, room, seed, seconds, open, cut });
console.log("quiet");
console.log(JSON.stringify(await transcripts(users)));
