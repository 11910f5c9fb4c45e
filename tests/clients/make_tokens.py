"""Tokens as PyJWT makes them, by each algorithm: `make_tokens.py FOLDER NOW`, for keys in a folder.

Prints one object: tokens by their algorithms. NOW is in Unix seconds.
"""

import datetime
import json
import pathlib
import sys

import jwt

KEYS = {
    "HS256": "secret.txt",
    "HS384": "secret.txt",
    "HS512": "secret.txt",
    "RS256": "rsa.pem",
    "ES256": "p256.pem",
    "EdDSA": "ed25519.pem",
}

folder, now = pathlib.Path(sys.argv[1]), int(sys.argv[2])
issued = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
claims = {
    "sub": "Zoë",
    "username": "Zoë Ünal",
    "roles": ["editor"],
    "rooms": {"join": ["chat:*"], "publish": True},
    "aud": ["fanfare"],
    "iss": "https://issuer.example",
    "jti": "t-1",
    "iat": issued,
    "nbf": issued,
    "exp": issued + datetime.timedelta(minutes=10),
}
print(
    json.dumps(
        {
            alg: jwt.encode(claims, (folder / name).read_bytes(), alg, headers={"kid": alg})
            for alg, name in KEYS.items()
        }
    )
)
