"""The `aiohttp` client of Python: a round (letters.py) for each way to ask for compression."""

import asyncio

import aiohttp
from letters import Round, play_all

# A window is all that it lets one choose; 15 is what it asks for by default.
ROUNDS = [
    Round("", 0),
    Round("permessage-deflate", 15),
    *(Round(f"server_max_window_bits={bits}", bits, 65_536) for bits in range(9, 15)),
]

KINDS = {str: aiohttp.WSMsgType.TEXT, bytes: aiohttp.WSMsgType.BINARY}


class Member:
    def __init__(self, socket, answer):
        self.answer = answer
        self.socket = socket
        self.leave = socket.close

    async def send(self, letter):
        if isinstance(letter, str):
            await self.socket.send_str(letter)
        else:
            await self.socket.send_bytes(letter)

    async def next(self):
        message = await self.socket.receive()
        assert message.type == KINDS.get(type(message.data)), f"no message: {message}"
        return message.data


async def main():
    answers = []

    async def note(_session, _context, params):
        answers.append(params.response.headers.get("Sec-WebSocket-Extensions", ""))

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(note)
    async with aiohttp.ClientSession(trace_configs=[trace]) as session:

        async def connect(url, settings):
            socket = await session.ws_connect(url, compress=settings or 0)
            return Member(socket, answers.pop())

        await play_all("aiohttp", ROUNDS, connect)


asyncio.run(main())
