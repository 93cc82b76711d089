"""200 clients at once, mixed over the protocols: all are served, and one that is stuck blocks nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.running import PATIENCE, RunningServer

EACH = 60
STUCK = 20


class Line:
    """A client of any of the three protocols, a line at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, port: int) -> Line:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def answer(self) -> bytes:
        """One reply; the lines of a multi-line one (250-...) are passed over."""
        while True:
            line = await asyncio.wait_for(self.reader.readuntil(b"\r\n"), PATIENCE)
            if line[3:4] != b"-":
                return line

    async def ask(self, line: str, expect: bytes) -> bytes:
        self.writer.write(line.encode() + b"\r\n")
        reply = await self.answer()
        assert reply.startswith(expect), (line, reply)
        return reply

    async def rest(self, end: bytes) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(end), PATIENCE)

    def close(self) -> None:
        self.writer.close()


async def send_mail(port: int, number: int) -> None:
    client = await Line.to(port)
    assert (await client.answer()).startswith(b"220")
    await client.ask("EHLO client.test", b"250")
    await client.ask(f"MAIL FROM:<sender{number}@client.test>", b"250")
    await client.ask("RCPT TO:<bob@many.test>", b"250")
    await client.ask("DATA", b"354")
    await client.ask(f"Subject: {number}\r\n\r\n{'x' * 4000}\r\n.", b"250")
    await client.ask("QUIT", b"221")
    client.close()


async def read_mail(port: int, number: int) -> None:
    """Each has a maildrop of its own, because a maildrop has one reader at a time."""
    client = await Line.to(port)
    assert (await client.answer()).startswith(b"+OK")
    await client.ask(f"USER reader{number % 6}", b"+OK")
    for _ in range(100):
        client.writer.write(b"PASS secret\r\n")
        reply = await client.answer()
        if reply.startswith(b"+OK"):
            break
        assert b"[IN-USE]" in reply, reply
        await client.ask(f"USER reader{number % 6}", b"+OK")
    else:
        raise AssertionError("the maildrop stayed locked")
    await client.ask("STAT", b"+OK")
    await client.ask("UIDL", b"+OK")
    await client.rest(b".\r\n")
    await client.ask("QUIT", b"+OK")
    client.close()


async def move_file(port: int, number: int) -> None:
    client = await Line.to(port)
    assert (await client.answer()).startswith(b"220")
    await client.ask("USER bob", b"331")
    await client.ask("PASS hungry", b"230")
    await client.ask("TYPE I", b"200")
    content = str(number).encode() * 5000
    for verb in ("STOR", "RETR"):
        reply = await client.ask("EPSV", b"229")
        data = await Line.to(int(reply.split(b"|")[3]))
        await client.ask(f"{verb} file{number}", b"1")
        if verb == "STOR":
            data.writer.write(content)
            data.writer.write_eof()
            await data.writer.drain()
            await data.reader.read()
        else:
            assert await asyncio.wait_for(data.reader.read(), PATIENCE) == content
        data.close()
        assert (await client.answer()).startswith(b"226")
    await client.ask("QUIT", b"221")
    client.close()


class ManyClientsTests(SynchronousTestCase):
    def test_two_hundred_at_once(self) -> None:
        """60 senders, 60 readers, 60 file movers, all served while 20 more sit in the middle of something."""
        server = RunningServer(self, "many.test")
        server.add_account("bob", "hungry")
        for number in range(6):
            server.add_account(f"reader{number}", "secret")
        server.start()
        asyncio.run(self.everybody(server))

    async def everybody(self, server: RunningServer) -> None:
        stuck = []
        halves = (b"EHLO cli", b"USER bo", b"USER bob\r\nPAS", b"MAIL FROM:<a@")
        for number in range(STUCK):
            service = ("smtp", "pop3", "ftp", "ftps")[number % 4]
            client = await Line.to(server.ports[service])
            client.writer.write(halves[number % 4])
            await client.writer.drain()
            stuck.append(client)
        jobs: list[Awaitable[None]] = []
        for number in range(EACH):
            jobs.append(send_mail(server.ports["smtp"], number))
            jobs.append(read_mail(server.ports["pop3"], number))
            jobs.append(move_file(server.ports["ftp"], number))
        await asyncio.gather(*jobs)
        for client in stuck:
            client.close()
