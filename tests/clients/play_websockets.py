"""The `websockets` client of Python: a round (letters.py) for each way to ask for compression."""

import asyncio

from letters import Round, play_all
from websockets.asyncio.client import connect as open_socket
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory as Deflate

ROUNDS = [
    Round("", None),
    Round("permessage-deflate", Deflate(client_max_window_bits=True)),
    Round(
        "server_no_context_takeover",
        Deflate(server_no_context_takeover=True, client_no_context_takeover=True),
    ),
    *(
        Round(
            f"server_max_window_bits={bits}",
            Deflate(server_max_window_bits=bits, client_max_window_bits=bits),
            65_536,
        )
        for bits in range(9, 16)
    ),
]


class Member:
    def __init__(self, socket):
        self.answer = socket.response.headers.get("Sec-WebSocket-Extensions", "")
        self.send = socket.send
        self.next = socket.recv
        self.leave = socket.close


async def connect(url, settings):
    # With its own bound on what it takes, 1 MiB: nothing may arrive larger than it was sent.
    extensions = [settings] if settings else None
    return Member(await open_socket(url, extensions=extensions, compression=None, proxy=None))


asyncio.run(play_all("websockets", ROUNDS, connect))
