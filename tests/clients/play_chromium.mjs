// Headless Chromium: a round (letters.mjs) in a page of its own (page.html).
//
// Arguments: the broker's URL, the seed. One line of JSON.

import { inPage } from "./chromium.mjs";

const [url, seed] = process.argv.slice(2);
const asked = "permessage-deflate";

await inPage(url, ["/page.html", "/letters.mjs"], async (evaluate) => {
  const result = await evaluate(`play("chromium", ${Number(seed)}, 1048576)`);
  console.log(JSON.stringify({ client: "chromium", asked, ...result }));
});
