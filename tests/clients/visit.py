"""The `websockets` client of Python with tokens: `visit.py URL GOOD BAD`. One line of JSON.

The same visits and outcomes as in visit_all.mjs.
"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

PROTOCOL = "fanfare.v1.json"


async def outcome(url, protocols, greet=None, token=None):
    fields = {"Authorization": f"Bearer {token}"} if token else None
    said = []
    try:
        async with connect(
            url, subprotocols=protocols or None, additional_headers=fields, proxy=None
        ) as socket:
            if greet:
                await socket.send(greet)
            async for message in socket:
                if message == greet:
                    return f"echo by {socket.subprotocol or 'none'}"
                message = json.loads(message)
                said.append(message["type"])
                if message["type"] == "welcome":
                    return f"welcome {message['user']['id']} by {socket.subprotocol}"
            return "closed normally"
    except InvalidStatus as refused:
        return f"status {refused.response.status_code}"
    except ConnectionClosed as closed:
        return " ".join([*said, str(closed.rcvd.code)])


async def visits(url, good, bad):
    ways = {
        "subprotocol": lambda token: outcome(f"{url}/ws", [PROTOCOL, f"bearer.{token}"]),
        "query": lambda token: outcome(f"{url}/ws?token={token}", [PROTOCOL]),
        "raw": lambda token: outcome(f"{url}/raw/lobby?token={token}", [], "hello"),
        "message": lambda token: outcome(
            f"{url}/ws", [PROTOCOL], json.dumps({"type": "auth", "token": token})
        ),
        "field": lambda token: outcome(f"{url}/ws", [PROTOCOL], token=token),
    }
    told = {
        way: {"good": await visit(good), "bad": await visit(bad)} for way, visit in ways.items()
    }
    told["none"] = {
        "ws": await outcome(f"{url}/ws", [PROTOCOL]),
        "raw": await outcome(f"{url}/raw/lobby", [], "hello"),
    }
    return told


print(json.dumps(asyncio.run(visits(*sys.argv[1:]))))
