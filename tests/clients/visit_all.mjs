// What comes of connecting with a token in each way that a client has: a good one, a bad one, none.
//
// Needs nothing but the interface of browsers, which `ws` has too. An outcome is a text: who was
// welcomed, or how the connection was closed, after which types of messages.

const PROTOCOL = "fanfare.v1.json";

// Until there is a welcome (or an echo), or a close.
function outcome(socket, greet) {
  return new Promise((resolve) => {
    const said = [];
    let trouble = "";
    const leave = (text) => {
      resolve(text);
      socket.close();
    };
    socket.onopen = () => greet && socket.send(greet);
    socket.onmessage = ({ data }) => {
      if (data === greet) return leave(`echo by ${socket.protocol || "none"}`);
      const { type, user } = JSON.parse(data);
      said.push(type);
      if (type === "welcome") leave(`welcome ${user.id} by ${socket.protocol}`);
    };
    socket.onerror = ({ message }) => (trouble = message ?? "error");
    socket.onclose = ({ code }) => resolve([...said, code, trouble].filter(Boolean).join(" "));
  });
}

// `open` takes a URL, subprotocols, and a token to show in a field (`ws` alone can); `ways` are
// those to try.
export async function visits({ open, url, ways, good, bad }) {
  const say = (token) => JSON.stringify({ type: "auth", token });
  const visit = {
    subprotocol: (token) => outcome(open(`${url}/ws`, [PROTOCOL, `bearer.${token}`])),
    query: (token) => outcome(open(`${url}/ws?token=${token}`, [PROTOCOL])),
    raw: (token) => outcome(open(`${url}/raw/lobby?token=${token}`, []), "hello"),
    message: (token) => outcome(open(`${url}/ws`, [PROTOCOL]), say(token)),
    field: (token) => outcome(open(`${url}/ws`, [PROTOCOL], token)),
  };
  const told = {};
  for (const way of ways) {
    told[way] = { good: await visit[way](good), bad: await visit[way](bad) };
  }
  told.none = {
    ws: await outcome(open(`${url}/ws`, [PROTOCOL])),
    raw: await outcome(open(`${url}/raw/lobby`, []), "hello"),
  };
  return told;
}
