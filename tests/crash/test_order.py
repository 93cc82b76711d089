"""What a power cut would leave: everything is on the disk before the client is told so.

A killed process loses nothing that it has written, so kill -9 cannot show this; the order of the system
calls can.
"""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Sequence

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.hostile.raw import Raw, ftp, passive
from tests.interop.running import PATIENCE, RunningServer, program

#: The name of the call, or of one that another thread's call interrupted in the file of strace.
_CALL = re.compile(r"(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)")
_CALLS = (
    "fsync,fdatasync,syncfs,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,"
    "rename,renameat,renameat2,link,linkat"
)


class Trace:
    """strace on a running server. `calls` are (name, arguments) in the order in which they ended."""

    def __init__(self, server: RunningServer) -> None:
        assert server.process is not None
        self._file = server.folder.parent / "strace"
        self._process = subprocess.Popen(
            [
                program("strace", "strace"),
                "-f", "-y", "-s", "40", "-e", f"trace={_CALLS}", "-o", self._file,
                "-p", str(server.process.pid),
            ],
            stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stderr is not None
        first = self._process.stderr.readline()
        if b"attached" not in first:
            self._process.wait(PATIENCE)
            self._process.stderr.close()
            raise SkipTest(f"strace may not look on: {first.decode().strip()}")

    def end(self) -> list[tuple[str, str]]:
        assert self._process.stderr is not None
        self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=PATIENCE)
        calls: list[tuple[str, str]] = []
        begun: dict[str, str] = {}
        for line in self._file.read_text(errors="replace").splitlines():
            call = _CALL.match(line)
            if call is None:
                continue
            thread, resumed, name, arguments = call.groups()
            if arguments.endswith("<unfinished ...>"):
                begun[thread] = arguments
            elif resumed:
                calls.append((resumed, begun.pop(thread, "") + arguments))
            else:
                calls.append((name, arguments))
        return calls


class OrderTests(SynchronousTestCase):
    def setUp(self) -> None:
        program("strace", "strace")
        self.server = RunningServer(self, "order.test")
        self.server.add_account("alice", "hungry")
        self.server.start()

    def assertOrder(self, calls: Sequence[tuple[str, str]], *steps: tuple[str, str]) -> None:
        """The steps (pattern of a call, pattern of its arguments) happen in this order."""
        position = 0
        for name, arguments in steps:
            for place in range(position, len(calls)):
                if re.fullmatch(name, calls[place][0]) and re.search(arguments, calls[place][1]):
                    position = place + 1
                    break
            else:
                shown = "\n".join(f"{call}({rest[:150]}" for call, rest in calls)
                self.fail(f"no {name} of {arguments} after call {position} of\n{shown}")

    def assertSynced(self, calls: Sequence[tuple[str, str]], answer: str, path: str) -> None:
        """Before the answer, what was written to this file was synced after the last write."""
        answered = next(n for n, (_, rest) in enumerate(calls) if answer in rest)
        before = calls[:answered]
        written = [n for n, call in enumerate(before) if "write" in call[0] and re.match(path, call[1])]
        synced = [n for n, call in enumerate(before) if "sync" in call[0] and re.match(path, call[1])]
        self.assertTrue(written and synced, (written, synced))
        self.assertLess(written[-1], synced[-1])

    def deliver(self, body: bytes) -> list[tuple[str, str]]:
        with Raw(self.server.ports["smtp"]) as client:
            client.reply()
            client.ask("EHLO client.test", "250")
            client.ask("MAIL FROM:<x@far.test>", "250")
            client.ask("RCPT TO:<alice@order.test>", "250")
            client.ask("DATA", "354")
            trace = Trace(self.server)
            try:
                client.ask(body + b".", "250")
            finally:
                calls = trace.end()
        return calls

    def test_small_message(self) -> None:
        """The database is on disk before 250."""
        calls = self.deliver(b"Subject: small\r\n\r\ntext\r\n")
        self.assertOrder(
            calls, ("f(data)?sync", r"mail\.sqlite-wal>\)* *= 0"), ("write|sendto|sendmsg|writev", '"250 2')
        )
        self.assertSynced(calls, '"250 2', r"\d+<[^>]*mail\.sqlite-wal>")

    def test_large_message(self) -> None:
        """Its file gets its name, both are on disk before the row that names it, and that before 250. A file
        that a power cut leaves torn under its name is named by no row, and is written over."""
        calls = self.deliver(b"Subject: large\r\n\r\n" + b"some text of a line\r\n" * 10_000)
        self.assertOrder(
            calls,
            ("rename.*|link.*", r"blobs.* = 0"),
            ("f(data)?sync", r"/blobs/[0-9a-f]{2}/[^>]+>.* = 0"),
            ("f(data)?sync", r"/blobs/[0-9a-f]{2}>.* = 0"),
            ("f(data)?sync", r"mail\.sqlite-wal>.* = 0"),
            ("write|sendto|sendmsg|writev", '"250 2'),
        )
        self.assertSynced(calls, '"250 2', r"\d+<[^>]*/blobs/[^>]*>")
        self.assertSynced(calls, '"250 2', r"\d+<[^>]*mail\.sqlite-wal>")

    def test_upload(self) -> None:
        """The file, then its name in its folder, are on disk before 226."""
        with ftp(self.server.ports["ftp"], "alice", "hungry") as client:
            data = passive(client)
            client.ask("STOR report.txt", "1")
            trace = Trace(self.server)
            try:
                data.send(b"octets\n" * 1000)
                data.close()
                self.assertTrue(client.reply().startswith(b"226"))
            finally:
                calls = trace.end()
        self.assertOrder(
            calls,
            ("f(data)?sync|syncfs", r"/alice[/>].* = 0"),
            ("rename.*|link.*", r"report\.txt.* = 0"),
            ("f(data)?sync|syncfs", r"/alice>.* = 0"),
            ("write|sendto|sendmsg|writev", '"226 '),
        )
        self.assertSynced(calls, '"226 ', r"\d+<[^>]*/alice/[^>]*>")
