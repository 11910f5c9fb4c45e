// The `ws` client of Node with tokens (visit_all.mjs): `visit.mjs URL GOOD BAD`. One line of JSON.

import { visits } from "./visit_all.mjs";
import process from "node:process";
import WebSocket from "ws";

const [url, good, bad] = process.argv.slice(2);
const open = (to, protocols, token) =>
  new WebSocket(to, protocols, token ? { headers: { Authorization: `Bearer ${token}` } } : {});
const ways = ["subprotocol", "query", "raw", "message", "field"];
console.log(JSON.stringify(await visits({ open, url, ways, good, bad })));
