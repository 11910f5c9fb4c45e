"""What a raw room does, asked of a server over plain sockets: who doesn't do it isn't compared.

Not here: the load, which counts for itself what is lost, repeated or out of order.
"""

import base64
import os
import socket
import struct

from servers import Unfit

TEXT, BINARY = 1, 2
SECONDS_MAX = 5


class Member:
    """A connection that is a member of a room."""

    def __init__(self, address, room):
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=SECONDS_MAX)
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            f"GET /raw/{room} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self.socket.sendall(head.encode())
        self.stream = self.socket.makefile("rb")
        status = self.stream.readline()
        if b" 101 " not in status:
            raise Unfit(f"it answered the handshake with {status!r}")
        while self.stream.readline() not in (b"\r\n", b""):
            pass

    def send(self, opcode, payload):
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size)
        no_mask = bytes(4)  # A mask of zeros changes nothing, and is as good as any other.
        self.socket.sendall(bytes([0x80 | opcode]) + length + no_mask + payload)

    def receive(self):
        first, size = self.read(2)
        if size == 126:
            (size,) = struct.unpack(">H", self.read(2))
        return first & 0x0F, self.read(size)

    def read(self, size):
        data = self.stream.read(size)
        if len(data) < size:
            raise Unfit("it hung up")
        return data

    def close(self):
        self.stream.close()
        self.socket.close()


def check(server):
    """Raises `Unfit` where the server does otherwise than a raw room."""
    members = []
    try:
        for name in ["a", "a", "b"]:
            members.append(Member(server.address, f"contract-{name}"))
            # Its own message back says that it has joined; the others must not be told before.
            members[-1].send(TEXT, b"here")
            for member in members if name == "a" else members[-1:]:
                expect(member, TEXT, b"here")
        one, two, stranger = members
        stranger.send(TEXT, b"elsewhere")
        expect(stranger, TEXT, b"elsewhere")
        for sender in [one, two]:
            for opcode, payload in [
                (TEXT, "Grüße".encode()),
                (BINARY, bytes(range(256))),
                (TEXT, b"x" * 1_000),
                (BINARY, b"y" * 16_384),
            ]:
                sender.send(opcode, payload)
                for member in [one, two]:
                    expect(member, opcode, payload)
    except OSError as error:
        raise Unfit(f"{server.name}: {error}") from error
    except Unfit as error:
        raise Unfit(f"{server.name} is no raw room: {error}") from error
    finally:
        for member in members:
            member.close()


def expect(member, opcode, payload):
    got = member.receive()
    if got != (opcode, payload):
        raise Unfit(f"{got[0]}, {got[1][:40]!r} came instead of {opcode}, {payload[:40]!r}")
