"""What a command of IMAP is: RFC 9051 section 6.

Groups of commands are modules of their own; each has a tuple `COMMANDS`, and `mailftp.imap.registry` puts
them together. The session (mailftp.imap.session) looks a command up by its name, asks for its state, parses
all of it, and runs it to its end before it looks at the next one.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twisted.internet.defer import Deferred

from mailftp.imap.parser import Parser

if TYPE_CHECKING:
    from mailftp.imap.context import Context
    from mailftp.imap.incoming import Incoming

V = TypeVar("V")


class State(enum.Flag):
    """RFC 9051 section 3."""

    NOT_AUTHENTICATED = 1
    AUTHENTICATED = 2
    SELECTED = 4
    LOGGED_IN = AUTHENTICATED | SELECTED
    ANY = NOT_AUTHENTICATED | LOGGED_IN


@dataclass(frozen=True, slots=True)
class Ok:
    """A tagged OK. `code` is what stands between the brackets: b"READ-ONLY"."""

    text: str = "done"
    code: bytes = b""
    #: Done when the tagged response has left: STARTTLS and COMPRESS begin after it.
    then: Callable[[], Work[None]] | None = None


class No(Exception):
    """Raised by a command: a tagged NO, with a response code of RFC 9051 section 7.1 or RFC 5530."""

    def __init__(self, text: str, code: bytes = b"") -> None:
        super().__init__(text)
        self.code = code


class Bad(Exception):
    """Raised by a command whose arguments make no sense here: a tagged BAD. What the grammar forbids is a
    SyntaxFault of the parser and becomes the same."""

    def __init__(self, text: str, code: bytes = b"") -> None:
        super().__init__(text)
        self.code = code


class Bye(Exception):
    """The session cannot go on: an untagged BYE, and the connection is closed."""


Work = Coroutine[Deferred[Any], Any, V]


@dataclass(frozen=True, slots=True)
class Command(Generic[V]):
    """One command.

    `parse` is called with what follows the name, a space first where there are arguments, and leaves nothing
    but what it has not understood; it raises SyntaxFault. `run` sends untagged responses through
    `context.output`, and answers what the tagged one is; it raises No, Bad, Bye, SyntaxFault, or what the
    store fails with (mailftp.imap.session says what becomes of that). It runs alone: nothing else writes to
    the client meanwhile. `run` is cancelled when the connection is lost.
    """

    name: bytes
    states: State
    parse: Callable[[Parser], V]
    run: Callable[[Context, V], Work[Ok]]
    #: Whether EXPUNGE may be sent before its tagged response. RFC 9051 section 7.5.1: not in answer to FETCH,
    #: STORE and SEARCH (nor SORT and THREAD), whose numbers the client counts by; their UID forms may.
    expunges: bool = True


@dataclass(frozen=True, slots=True)
class MessageCommand:
    """One whose last argument is a message, which is never held in memory: APPEND, REPLACE.

    `receive` is called when the first message is announced, with a parser over what stands before it, after
    the name. What it has not read when it raises is read and dropped.
    """

    name: bytes
    states: State
    receive: Callable[[Context, Parser, Incoming], Work[Ok]]
    expunges: bool = True


def nothing(parser: Parser) -> None:
    """`parse` of a command without arguments."""
