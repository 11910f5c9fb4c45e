"""What a Python client does in a round: letters of every size, sent and compared; see letters.mjs.

A client is a coroutine `connect(url, settings)`, which offers no extension without settings. It
gives a member: the extensions that the broker chose (`answer`), `send(letter)`, `next()`, `leave()`.
"""

import asyncio
import base64
import json
import random
import sys
from dataclasses import dataclass

SIZES = [0, 1, 125, 126, 127, 1_023, 1_024, 65_535, 65_536, 1_048_576]
LARGEST = 1_048_576
WORDS = '{"symbol":"ABC","price":"1.234,50 €","volume":200},'.encode()


@dataclass(frozen=True)
class Round:
    """One way to ask for compression."""

    asked: str
    settings: object
    largest: int = LARGEST


def repeated(size):
    return (WORDS * (size // len(WORDS))).ljust(size, b"x")


def letters(seed, largest):
    dice = random.Random(seed)
    everything = []
    for size in (size for size in SIZES if size <= largest):
        digits = base64.b64encode(dice.randbytes(size))[:size]
        binary = [dice.randbytes(size), repeated(size)]
        everything += [*binary, digits.decode(), repeated(size).decode()]
    return everything


def told(letter):
    return f"{type(letter).__name__} of {len(letter)}"


async def play(connect, settings, url, room, seed, largest):
    """Plays one round; how many letters were compared, and what was wrong with them."""
    everything = letters(seed, largest)
    negotiated, cases, faults = [], 0, []

    async def take(member, sent, where):
        nonlocal cases
        got = await member.next()
        cases += 1
        if type(got) is not type(sent) or got != sent:
            faults.append(f"{where}: sent {told(sent)}, got {told(got)}")

    async def exchange(sender, members, where):
        for letter in everything:
            await sender.send(letter)
            for member in members:
                await take(member, letter, f"{where}, one by one")

    async def burst(sender, members, where):
        async def send_all():
            for letter in everything:
                await sender.send(letter)

        async def take_all(member):
            for letter in everything:
                await take(member, letter, f"{where}, at once")

        await asyncio.gather(send_all(), *map(take_all, members))

    async def joined(path, offered):
        member = await connect(url + path, settings if offered else None)
        negotiated.append(member.answer)
        # In a room, its own message says that it has joined.
        await member.send("here")
        await member.next()
        return member

    echo = await joined("/echo", True)
    await exchange(echo, [echo], "echo")
    await burst(echo, [echo], "echo")
    await echo.leave()

    offering = await joined(f"/raw/{room}", True)
    plain = await joined(f"/raw/{room}", False)
    await offering.next()
    await exchange(offering, [offering, plain], "offering member")
    await burst(plain, [plain, offering], "plain member")
    await asyncio.gather(plain.leave(), offering.leave())
    return {"negotiated": negotiated, "cases": cases, "faults": faults}


async def play_all(client, rounds, connect):
    """Plays all rounds, with a line of JSON for each. Arguments: the broker's URL, the seed."""
    url, seed = sys.argv[1:]
    for nth, one in enumerate(rounds):
        room = f"{client}:{nth}"
        result = await play(connect, one.settings, url, room, int(seed), one.largest)
        print(json.dumps({"client": client, "asked": one.asked, **result}), flush=True)
