// Users of a chat room (chat_user.mjs), played by headless Chromium in one page (chat.html).
//
// Arguments and output are those of chat.mjs.

import { inPage } from "./chromium.mjs";

const [url, room, ...numbers] = process.argv.slice(2);
const args = [JSON.stringify(room), ...numbers.map(Number)].join(", ");

await inPage(url, ["/chat.html", "/chat_user.mjs"], async (evaluate) => {
  await evaluate(`live(${args})`);
  console.log("quiet");
  console.log(JSON.stringify(await evaluate("told()")));
});
