"""A mail server that keeps the octets it was sent as they came, in a thread of its own."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable
from typing import Any


class Sink:
    """Listens on a free port of 127.0.0.1 until the test is over.

    `messages` are everything between 354 and our answer, dots and all; `commands` every line outside of it.
    `answers` may name another reply to a verb than the usual one; `kept` is called with the number of
    messages, after the 250 for that one has been handed to the kernel.
    """

    def __init__(
        self,
        case: Any,
        answers: dict[bytes, bytes] | None = None,
        kept: Callable[[int], None] = lambda number: None,
        extensions: tuple[bytes, ...] = (b"PIPELINING", b"8BITMIME"),
    ) -> None:
        self.messages: list[bytes] = []
        self.commands: list[bytes] = []
        self._answers = answers or {}
        self._kept = kept
        self._extensions = extensions
        self._lock = threading.Lock()
        sink = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                try:
                    sink._serve(self.request)
                except ConnectionError:
                    pass

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.port: int = self._server.server_address[1]
        case.addCleanup(self._stop)

    def _stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, client: socket.socket) -> None:
        client.sendall(self._answers.get(b"", b"220 sink.test\r\n"))
        held = b""
        while True:
            held, line = self._until(client, held, b"\r\n")
            verb = line.split(b" ")[0].strip().upper()
            self.commands.append(line)
            answer = self._answers.get(verb)
            if answer is None:
                answer = {b"EHLO": self._ehlo(), b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}.get(
                    verb, b"250 ok\r\n"
                )
            client.sendall(answer)
            if verb == b"QUIT":
                return
            if verb == b"DATA" and answer.startswith(b"354"):
                held, message = self._until(client, held, b"\r\n.\r\n")
                with self._lock:
                    self.messages.append(message)
                    client.sendall(self._answers.get(b".", b"250 kept\r\n"))
                    self._kept(len(self.messages))

    def _ehlo(self) -> bytes:
        names = (b"sink.test", *self._extensions)
        return b"".join(b"250%s%s\r\n" % (b" " if name is names[-1] else b"-", name) for name in names)

    @staticmethod
    def _until(client: socket.socket, held: bytes, end: bytes) -> tuple[bytes, bytes]:
        """(what is left over, everything up to the end); ConnectionError when the client goes."""
        while end not in held:
            more = client.recv(65536)
            if not more:
                raise ConnectionError
            held += more
        taken, _, held = held.partition(end)
        return held, taken + end
