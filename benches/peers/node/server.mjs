// A raw room on the ws package: what a member of /raw/{room} sends reaches every member, itself
// included, as text or binary, as it was sent. As the package's documentation shows it, without
// compression. Takes the address to listen on.

import { WebSocket, WebSocketServer } from "ws";

const [host, port] = process.argv[2].split(":");
const rooms = new Map();

const server = new WebSocketServer({
  host,
  port: Number(port),
  backlog: 4096,
  perMessageDeflate: false,
  clientTracking: false,
  verifyClient: ({ req }) => req.url.startsWith("/raw/"),
});

server.on("connection", (socket, request) => {
  const name = request.url.slice("/raw/".length);
  const members = rooms.get(name) ?? new Set();
  rooms.set(name, members);
  members.add(socket);
  socket.on("message", (payload, isBinary) => {
    for (const member of members) {
      if (member.readyState === WebSocket.OPEN) {
        member.send(payload, { binary: isBinary });
      }
    }
  });
  socket.on("error", () => {}); // "close" follows.
  socket.on("close", () => {
    members.delete(socket);
    if (members.size === 0 && rooms.get(name) === members) {
      rooms.delete(name);
    }
  });
});

server.on("listening", () => console.log(`listening on ${host}:${server.address().port}`));
