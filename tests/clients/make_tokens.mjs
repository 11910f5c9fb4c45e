// Tokens as Node's jsonwebtoken makes them: `make_tokens.mjs FOLDER NOW`, for keys in a folder.
//
// Prints one object: tokens by their algorithms. NOW is in Unix seconds. EdDSA is not among them:
// the library does not know it.

import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import jwt from "jsonwebtoken";

const KEYS = {
  HS256: "secret.txt",
  HS384: "secret.txt",
  HS512: "secret.txt",
  RS256: "rsa.pem",
  ES256: "p256.pem",
};

const [folder, now] = [process.argv[2], Number(process.argv[3])];
const claims = {
  username: "Zoë Ünal",
  roles: ["editor"],
  rooms: { join: ["chat:*"], publish: true },
  iat: now,
};
const options = {
  subject: "Zoë",
  audience: "fanfare",
  issuer: "https://issuer.example",
  jwtid: "t-1",
  notBefore: 0,
  expiresIn: 600,
};
const tokens = Object.entries(KEYS).map(([algorithm, name]) => {
  const key = fs.readFileSync(path.join(folder, name));
  return [algorithm, jwt.sign(claims, key, { ...options, algorithm, keyid: algorithm })];
});
console.log(JSON.stringify(Object.fromEntries(tokens)));
