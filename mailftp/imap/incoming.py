"""The messages of an APPEND or REPLACE, as they come from the client (RFC 9051 section 6.3.12, RFC 3502)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mailftp.imap.commands import Bye
from mailftp.imap.output import Output
from mailftp.imap.parser import SyntaxFault
from mailftp.imap.scanner import Broken, CommandScanner, CommandText, Continue, Message

#: Octets of a message that are handed out at one time, at most.
PIECE = 64 * 1024


class Incoming:
    """A message is on offer; `accept` it, `read` it to its end, then `rest` says what follows."""

    def __init__(
        self, scanner: CommandScanner, output: Output, offer: Message, more: Callable[[], Awaitable[None]]
    ) -> None:
        """`more` returns when something was fed to the scanner."""
        self.offer = offer
        self._scanner = scanner
        self._output = output
        self._more = more
        self._accepted = self._over = False

    def accept(self) -> None:
        """The message that is on offer is wanted; a client that waits is told so."""
        self._scanner.accept()
        self._accepted = True
        if self.offer.synchronizing:
            self._output.write(b"+ send the message\r\n")
            self._output.flush()

    async def read(self) -> bytes:
        """The next octets of the accepted message, as they come; b"" at its end."""
        while self._scanner.message_left:
            piece = self._scanner.take(PIECE)
            if piece:
                return piece
            await self._more()
        return b""

    async def rest(self) -> Message | bytes:
        """After a message was read: the next one, which is then `offer`, or the end of the command. Literals
        that are no messages stand in it. Raises SyntaxFault, and Bye when its end cannot be found."""
        while True:
            event = self._scanner.next()
            if event is None:
                await self._more()
            elif isinstance(event, Continue):
                self._output.write(b"+ go on\r\n")
                self._output.flush()
            elif isinstance(event, Message):
                self.offer, self._accepted = event, False
                return event
            elif isinstance(event, CommandText):
                self._over = True
                return event.text
            else:
                self._over = True
                raise Bye(event.text) if isinstance(event, Broken) else SyntaxFault(event.text)

    async def drop(self) -> None:
        """Read what is left of the command, and forget it; idempotent. Raises Bye when its end cannot be
        found."""
        while not self._over:
            if self._accepted:
                while await self.read():
                    pass
            else:
                self._scanner.refuse("the message is not wanted")
            try:
                await self.rest()
            except SyntaxFault:
                # The refusal, back from the scanner.
                assert self._over
