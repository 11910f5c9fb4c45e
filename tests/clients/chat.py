"""Users of a chat room, played by the `websockets` client of Python.

Arguments, output and what a user does are those of chat.mjs and chat_user.mjs.
"""

import asyncio
import json
import random
import sys
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

WORDS = ['"quoted"', "back\\slash", "größer", "😀", "a/b", "line\nfeed", "\x01", "plain"]
CUTS_SHARE = 0.2
CUTS_WHILE_JOINING_SHARE = 0.2
WAYS = ["session", "session and positions", "positions"]


class User:
    def __init__(self, url, room, name, seed):
        self.url, self.room, self.name = url, room, name
        self.dice = random.Random(seed)
        self.batch = seed % 2 == 1
        self.told = {
            "name": name,
            **{what: [] for what in ("transcript", "acks", "faults")},
            **{what: 0 for what in ("cuts", "resumed", "rejoined")},
        }
        self.socket = self.reading = self.way = self.session = self.offered = self.last = None
        self.pending = {}
        self.said = 0
        self.joined, self.settled, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def fault(self, what):
        self.told["faults"].append(f"{self.name}: {what}")

    async def live(self, seconds):
        """Joins, talks and is cut off for so long, until all it said is acknowledged."""
        end = time.monotonic() + seconds
        await self.connect(None)
        await self.joined.wait()
        while time.monotonic() < end:
            await asyncio.sleep(self.dice.uniform(0.1, 1.9))
            if self.dice.random() < CUTS_SHARE:
                await self.go_and_come_back()
            else:
                await self.say()
        while self.pending:
            self.settled.clear()
            await self.settled.wait()

    async def go_and_come_back(self):
        while True:
            self.cut()
            await asyncio.sleep(self.dice.uniform(0, 0.3))
            await self.connect(self.dice.choice(WAYS))
            if self.dice.random() >= CUTS_WHILE_JOINING_SHARE:
                await self.joined.wait()
                return
            await asyncio.sleep(self.dice.uniform(0, 0.02))

    def cut(self):
        self.reading.cancel()  # What it still says is no longer heard.
        self.socket.transport.abort()
        self.told["cuts"] += 1

    async def connect(self, way):
        self.way = way
        self.joined.clear()
        protocols = self.dice.choice([None, ["fanfare.v1.json"]])
        self.socket = await connect(f"{self.url}/ws", subprotocols=protocols, proxy=None)
        self.reading = asyncio.create_task(self.read(self.socket))

    async def read(self, socket):
        try:
            async for text in socket:
                await self.take(json.loads(text))
            why = "the broker closed"
        except Exception as error:  # What is wrong is told, not lost with the task.
            why = repr(error)
        # Nobody goes on whom the broker has closed.
        raise SystemExit(f"{self.name}: {why}; {self.told['faults']}")

    async def send(self, what):
        try:
            await self.socket.send(json.dumps(what, ensure_ascii=False))
        except ConnectionClosed:
            pass  # Told by who reads.

    async def say(self):
        self.said += 1
        key = f"{self.name}-{self.said}"
        word = self.dice.choice(WORDS)
        content = f"{key}: {word}" if self.said % 2 == 0 else {"id": key, "word": word}
        message = {"type": "room-message", "room": self.room, "content": content}
        self.pending[key] = {**message, "id": key, "dedupe": key}
        await self.send(self.pending[key])

    def resumes(self):
        return self.way in ("session", "session and positions")

    async def greet(self):
        hello = {"type": "hello", "id": "hello", "batch": self.batch}
        if self.resumes():
            hello["session"] = self.session
            if self.way == "session and positions":
                hello["positions"] = {self.room: self.last}
        await self.send(hello)

    async def join(self):
        # As somebody new: what is not acknowledged may have been heard or not.
        if self.way is not None:
            self.way = "positions"
        self.pending.clear()
        since = {"since": self.last} if self.last else {"history": 0}
        await self.send({"type": "join-room", "id": "join", "room": self.room, **since})

    async def take(self, said):
        match said["type"]:
            case "welcome":
                await self.welcomed(said)
            case "room-joined":
                await self.became_member(said)
            case "room-message":
                self.note(said)
            case "message-batch":
                if not self.batch:
                    self.fault("got a batch without asking for it")
                for message in said["messages"]:
                    self.note(message)
            case "ack":
                self.acknowledged(said)
            case "error" if said.get("id") == "hello":
                await self.join()
            case "error" | "gap":
                self.fault(json.dumps(said))

    async def welcomed(self, said):
        if said.get("id") != "hello":
            self.offered = said["session"]
            await self.greet()
            return
        self.offered = said["session"]
        resumed = self.resumes() and said["session"] == self.session
        rooms = said.get("rooms", []) if resumed else []
        room = next((room for room in rooms if room["room"] == self.room), None)
        if room:
            await self.became_member(room)
        else:  # Nothing to go on with, or it was cut off before it was a member.
            await self.join()

    async def became_member(self, said):
        # By session alone it goes on from what was proved to be read, which may be long forgotten.
        if self.last and not said["recovered"] and self.way != "session":
            self.fault(f"not recovered: {said.get('reason')}")
        for message in said["messages"]:
            self.note(message, may_repeat=self.way == "session")
        self.last = self.last or {"epoch": said["epoch"], "seq": said["seq"]}
        if self.resumes():
            self.told["resumed"] += 1
            for message in list(self.pending.values()):
                await self.send(message)
        else:
            self.session = self.offered
            self.told["rejoined"] += self.way is not None
        self.settled.set()
        self.joined.set()

    def note(self, message, may_repeat=False):
        epoch, seq, last = message["epoch"], message["seq"], self.last
        if last and (epoch != last["epoch"] or seq > last["seq"] + 1):
            self.fault(f"{epoch} {seq} after {last}")
        if last and seq <= last["seq"]:
            if not may_repeat:
                self.fault(f"{seq} again, after {last}")
            return
        self.last = {"epoch": epoch, "seq": seq}
        content = message["content"]
        self.told["transcript"].append([epoch, seq, message["sender"]["id"], content])
        if content == "end":
            self.ended.set()

    def acknowledged(self, said):
        message = self.pending.pop(said["id"], None)
        if message is None:
            self.fault(f"an ack for {said['id']}, which nobody waits for")
            return
        self.told["acks"].append([said["epoch"], said["seq"], message["content"]])
        self.settled.set()


async def main():
    url, room, *numbers = sys.argv[1:]
    count, seed, seconds = map(int, numbers)
    users = [User(url, room, f"websockets-{nth}", seed + nth) for nth in range(count)]
    await asyncio.gather(*(user.live(seconds) for user in users))
    print("quiet", flush=True)
    await asyncio.gather(*(user.ended.wait() for user in users))
    print(json.dumps([user.told for user in users]), flush=True)
    for user in users:
        user.reading.cancel()
        await user.socket.close()


asyncio.run(main())
