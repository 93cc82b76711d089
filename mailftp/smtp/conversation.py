"""Lines in, replies out, and what is counted on the way: what an SMTP session is built on.

No sockets, no clock, no disk.
"""

from __future__ import annotations

from collections.abc import Callable

from mailftp.smtp.lines import LineFault, Lines
from mailftp.smtp.rules import BAD_COMMANDS, BAD_COMMANDS_BEFORE_HELO, IDLE_COMMANDS, State, Terms
from mailftp.smtp.syntax import AUTH_LINE, COMMAND_LINE, Reply

#: The first octet of a TLS handshake.
_TLS_HANDSHAKE = b"\x16"


class Conversation:
    """What both sides said, and whose turn it is."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.state = State.CONNECTED
        #: What HELO or EHLO said.
        self.helo = ""
        self.esmtp = False
        self.secure = False
        self.logged_in = False
        self._mechanisms: tuple[str, ...] = ()
        self._starttls = False
        self._lines = Lines()
        self._out: list[bytes] = []
        self._pending: Callable[[Reply], None] | None = None
        self._ending: Reply | None = None
        self._draining = False
        self._bad = self._idle = 0

    def receive(self, data: bytes) -> None:
        """Octets came. In TLS state and after the end they are thrown away: what came in clear behind
        STARTTLS is not the client's word (CVE-2011-0411)."""
        if self.state in (State.TLS, State.CLOSED):
            return
        self._lines.add(data)

    @property
    def waiting(self) -> bool:
        """An event waits for its answer."""
        return self._pending is not None

    @property
    def unread(self) -> int:
        """Octets received and not yet looked at."""
        return len(self._lines)

    def replies(self) -> bytes:
        """What is to be sent; it is then forgotten here."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def answer(self, reply: Reply) -> None:
        """The server's answer to the event that waits; below 400 it is a yes."""
        pending, self._pending = self._pending, None
        if pending is None:
            raise AssertionError("nothing waits for an answer")
        pending(reply)

    def expire(self) -> None:
        """The client was silent too long (RFC 5321 section 4.5.3.2.7)."""
        self.cut("4.4.2", "nothing was heard for long")

    def cut(self, status: str, reason: str) -> None:
        """End it now, whatever waits for an answer or is under way."""
        self._pending = None
        self.state = State.READY
        self._cut(status, reason)

    def drain(self) -> None:
        """Say 421 as soon as no message is on its way."""
        self._draining = True

    # Lines.

    def _take_line(self) -> bytes | None:
        """The next command line without CRLF; None when there is none yet, or it was no good."""
        while not self._ending:
            in_login = self.state is State.AUTH
            line = self._lines.take(
                AUTH_LINE if in_login or self._lines.startswith(b"AUTH") else COMMAND_LINE
            )
            if line is LineFault.BARE_LF:
                # Unanswered, a client that sends LF alone would wait for ever.
                self._wrong(Reply(500, "5.5.2", "Lines must end with CR LF (nc -C does that)"))
            elif line is LineFault.TOO_LONG:
                self._wrong(Reply(500, "5.5.6" if in_login else "5.5.2", "The line is too long"))
            elif line is None and self.state is State.CONNECTED and self._lines.startswith(_TLS_HANDSHAKE):
                self._end(Reply(421, "4.7.0", "This port begins without TLS"))
            else:
                return line
        return None

    # Replies.

    def _say(self, reply: Reply, more: bytes = b"") -> None:
        data = reply.encode()
        self._out.append(data[:-2] + more + b"\r\n" if more else data)

    def _end(self, reply: Reply) -> None:
        """Nothing is read after this reply."""
        self._say(reply)
        self._ending = reply

    def _cut(self, status: str, reason: str) -> None:
        """RFC 5321 section 3.8: the server may end a connection with 421 at any time."""
        self._end(Reply(421, status, f"{self.terms.hostname} closes the connection: {reason}"))

    def _wrong(self, reply: Reply) -> None:
        """A command that was no good; one too many ends the connection."""
        self._bad += 1
        if self.state is State.AUTH:
            self.state = State.READY
        limit = BAD_COMMANDS if self.helo else BAD_COMMANDS_BEFORE_HELO
        if self._bad >= limit:
            self._cut("4.7.0", "too many errors")
        else:
            self._say(reply)

    def _idled(self, reply: Reply) -> None:
        self._idle += 1
        if self._idle > IDLE_COMMANDS:
            self._wrong(Reply(451, "4.7.0", "Too many commands without a message"))
        else:
            self._say(reply)
