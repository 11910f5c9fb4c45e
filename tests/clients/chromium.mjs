// Headless Chromium with one page, whose files are those of this folder.
//
// The browser is driven by its DevTools protocol over a pipe: JSON, each message ended by a zero
// byte. `CHROMIUM` names its binary.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const TYPES = { html: "text/html", mjs: "text/javascript" };

class Browser {
  #asked = new Map();
  #last = 0;
  #said = "";
  onevent = () => {};

  constructor(profile) {
    const flags = [
      "--headless",
      "--remote-debugging-pipe",
      "--no-sandbox", // Its sandbox needs rights that a container lacks; it sees our page alone.
      "--disable-gpu",
      "--disable-dev-shm-usage",
      "--disable-background-networking",
      "--disable-component-update",
      "--no-first-run",
      "--no-proxy-server",
      // A page that was handed to it, not fetched from the loopback, may open no connection there.
      "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets",
      `--user-data-dir=${profile}`,
    ];
    const stdio = ["ignore", "ignore", "ignore", "pipe", "pipe"];
    this.process = spawn(process.env.CHROMIUM ?? "chromium", flags, { stdio });
    this.ended = new Promise((resolve) => {
      this.process.on("exit", resolve);
      this.process.on("error", resolve);
    });
    this.ended.then((why) => this.#fail(new Error(`Chromium has ended: ${why}`)));
    const [, , , writable, readable] = this.process.stdio;
    this.pipe = writable.on("error", () => {});
    readable.setEncoding("utf8").on("data", (text) => this.#read(text));
  }

  #fail(error) {
    for (const { reject } of this.#asked.values()) reject(error);
  }

  #read(text) {
    const messages = (this.#said + text).split("\0");
    this.#said = messages.pop();
    for (const { id, error, result, ...event } of messages.map((said) => JSON.parse(said))) {
      const asked = this.#asked.get(id);
      this.#asked.delete(id);
      if (!asked) this.onevent(event);
      else if (error) asked.reject(new Error(error.message));
      else asked.resolve(result);
    }
  }

  ask(method, params = {}, sessionId = undefined) {
    const id = (this.#last += 1);
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      this.pipe.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }
}

async function open(browser, url, files) {
  const { targetId } = await browser.ask("Target.createTarget", { url: "about:blank" });
  const attached = await browser.ask("Target.attachToTarget", { targetId, flatten: true });
  const ask = (method, params) => browser.ask(method, params, attached.sessionId);
  const loaded = new Promise((resolve) => {
    browser.onevent = async ({ method, params }) => {
      if (method === "Page.loadEventFired") resolve();
      if (method !== "Fetch.requestPaused") return;
      const { requestId, request } = params;
      const name = new URL(request.url).pathname;
      const body = files.includes(name) && (await readFile(new URL(`.${name}`, import.meta.url)));
      const type = TYPES[name.split(".").pop()] ?? "text/plain";
      ask("Fetch.fulfillRequest", {
        requestId,
        responseCode: body ? 200 : 404,
        responseHeaders: [{ name: "Content-Type", value: type }],
        body: body ? body.toString("base64") : "",
      });
    };
  });
  await ask("Page.enable");
  await ask("Fetch.enable", { patterns: [{ urlPattern: "*" }] });
  await ask("Page.navigate", { url: url.replace(/^ws/, "http") + files[0] });
  await loaded;
  return async (expression) => {
    const { result, exceptionDetails } = await ask("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description);
    return result.value;
  };
}

// Opens the first of `files` as a page of the broker at `url`, and hands `use` a function that
// evaluates an expression in it.
export async function inPage(url, files, use) {
  const profile = await mkdtemp(join(tmpdir(), "chromium-"));
  const browser = new Browser(profile);
  try {
    await use(await open(browser, url, files));
  } finally {
    browser.process.kill("SIGKILL");
    await browser.ended;
    await rm(profile, { recursive: true, force: true, maxRetries: 9 });
  }
}
