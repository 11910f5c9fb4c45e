// A page in headless Chromium with tokens (visit_all.mjs): `visit_chromium.mjs URL GOOD BAD`. One
// line of JSON.

import { inPage } from "./chromium.mjs";
import process from "node:process";

const [url, ...tokens] = process.argv.slice(2);

await inPage(url, ["/visit.html", "/visit_all.mjs"], async (evaluate) => {
  const [good, bad] = tokens.map((token) => JSON.stringify(token));
  console.log(JSON.stringify(await evaluate(`visit(${good}, ${bad})`)));
});
