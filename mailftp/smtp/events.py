"""What a session asks of its server, in the order in which the client asked for it.

After an event marked "waits" the session reads no further command until its `answer` (or `challenge`) is
called: however long a look-up or a commit takes, replies keep the order of the commands.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailftp.message.address import Address
from mailftp.smtp.syntax import MailFrom, RcptTo, Reply


@dataclass(frozen=True, slots=True)
class HelloSaid:
    """HELO, EHLO or LHLO was said, and the envelope before it is forgotten; waits."""


@dataclass(frozen=True, slots=True)
class MailBegun:
    """MAIL was said; waits."""

    mail: MailFrom


@dataclass(frozen=True, slots=True)
class RecipientNamed:
    """RCPT was said; waits."""

    rcpt: RcptTo


@dataclass(frozen=True, slots=True)
class DataAsked:
    """DATA was said, or the first BDAT; waits. `answer(START)` begins the message."""


@dataclass(frozen=True, slots=True)
class BodyReceived:
    """A piece of the message, unstuffed; what a piece is depends on the network alone."""

    data: bytes


@dataclass(frozen=True, slots=True)
class BodySpoiled:
    """The message cannot be taken: forget what came of it. The session says `reply` when its end has come."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class BodyEnded:
    """The whole message is here; waits. An LMTP session may be given `answer_each` in place of `answer`."""

    eightbit: bool


@dataclass(frozen=True, slots=True)
class AddressAsked:
    """VRFY was said by somebody who may know; waits."""

    address: Address


@dataclass(frozen=True, slots=True)
class ExpansionAsked:
    """EXPN was said by somebody who may know; waits."""

    address: Address


@dataclass(frozen=True, slots=True)
class TransactionDropped:
    """RSET or STARTTLS: the envelope is forgotten."""


@dataclass(frozen=True, slots=True)
class LoginBegun:
    """AUTH was said; waits. `response` None: there was no initial response."""

    mechanism: str
    response: bytes | None


@dataclass(frozen=True, slots=True)
class LoginContinued:
    """The client's answer to a challenge, decoded; waits."""

    response: bytes


@dataclass(frozen=True, slots=True)
class TLSAsked:
    """220 is said: send the replies and begin the handshake; the session hears `secured` after it."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The last reply is said, be it to QUIT or 421: send it and close."""

    reply: Reply


Event = (
    HelloSaid
    | MailBegun
    | RecipientNamed
    | DataAsked
    | BodyReceived
    | BodySpoiled
    | BodyEnded
    | AddressAsked
    | ExpansionAsked
    | TransactionDropped
    | LoginBegun
    | LoginContinued
    | TLSAsked
    | Closed
)
