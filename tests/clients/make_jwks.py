"""The keys of a folder as PyJWT writes a set of them (RFC 7517): `make_jwks.py FOLDER`.

Each is called by its algorithm.
"""

import json
import pathlib
import sys

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import get_default_algorithms

KEYS = {
    "HS256": "secret.txt",
    "HS384": "secret.txt",
    "HS512": "secret.txt",
    "RS256": "rsa.pub.pem",
    "ES256": "p256.pub.pem",
    "EdDSA": "ed25519.pub.pem",
}

folder, keys = pathlib.Path(sys.argv[1]), []
for alg, name in KEYS.items():
    key = (folder / name).read_bytes()
    if name.endswith(".pem"):
        key = load_pem_public_key(key)
    jwk = get_default_algorithms()[alg].to_jwk(key, as_dict=True)
    keys.append({**jwk, "alg": alg, "kid": alg, "use": "sig"})
print(json.dumps({"keys": keys}))
