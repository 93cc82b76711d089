"""What may be said when, how often, and what a service asks: the tables that the session goes by."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mailftp.smtp.data import DataFault, LineEnds
from mailftp.smtp.syntax import Reply

#: Commands that were no good, before the connection is closed; and before HELO, where no honest client errs.
BAD_COMMANDS = 10
BAD_COMMANDS_BEFORE_HELO = 3
#: Octets of all RCPT commands of a transaction. RFC 5321 section 4.5.3.1.8 asks for 100 recipients of at most
#: 512 octets each, and a thousand of any real length are far below.
ENVELOPE = 256 * 1024
#: Recipients refused in one connection: beyond it somebody is collecting addresses.
REFUSED_RECIPIENTS = 100
#: A chunk that will be refused is read and thrown away, as RFC 3030 section 2 asks, if it has at most this
#: many times the octets that a message may have; before a larger one the connection is closed.
DISCARDED = 4
#: Seconds that a message may be held for its sender (RFC 4865 section 3).
HOLD = 60 * 86400
#: Commands that bring no message nearer (NOOP, RSET, VRFY, HELP, EHLO), between two messages.
IDLE_COMMANDS = 100


class State(enum.Enum):
    #: Greeted by us; the client has not said who it is.
    CONNECTED = "connected"
    #: HELO or EHLO was said; no transaction.
    READY = "ready"
    #: A sender was accepted.
    MAIL = "mail"
    #: At least one recipient was accepted.
    RCPT = "rcpt"
    #: 354 was said: what comes is the message.
    DATA = "data"
    #: BDAT was said: what comes is a chunk of a message, or one that is thrown away.
    CHUNK = "chunk"
    #: A chunk came whole, and it was not the last.
    CHUNKS = "chunks"
    #: 334 was said: what comes is the answer to it.
    AUTH = "auth"
    #: 220 to STARTTLS was said: what comes before the handshake is thrown away.
    TLS = "tls"
    CLOSED = "closed"


#: BDAT is among them because its octets are no commands, in whatever state it comes.
_ALWAYS = frozenset({"HELO", "EHLO", "LHLO", "RSET", "NOOP", "VRFY", "EXPN", "HELP", "QUIT", "BDAT"})

#: RFC 5321 section 4.1.4, RFC 4954 section 4 (no AUTH during a transaction), RFC 3207 section 4. In
#: DATA, CHUNK, AUTH and TLS there are no commands. DATA without a recipient is answered by its own function:
#: 554 tells a pipelining client more than 503 (RFC 2920 section 3.1).
ALLOWED: Mapping[State, frozenset[str]] = MappingProxyType(
    {
        State.CONNECTED: _ALWAYS,
        State.READY: _ALWAYS | {"MAIL", "AUTH", "STARTTLS"},
        State.MAIL: _ALWAYS | {"RCPT", "DATA"},
        State.RCPT: _ALWAYS | {"RCPT", "DATA"},
        # DATA is answered by its own function here too: a message may come behind it.
        State.CHUNKS: _ALWAYS | {"DATA"},
    }
)

OUT_OF_ORDER: Mapping[State, str] = MappingProxyType(
    {
        State.CONNECTED: "Say EHLO or HELO first",
        State.READY: "Say MAIL FROM first",
        State.MAIL: "Not during a mail transaction",
        State.RCPT: "Not during a mail transaction",
        State.CHUNKS: "A message is arriving in chunks: BDAT or RSET",
    }
)

#: Verbs that RFC 5321 or an extension knows and that are not implemented: 502 and not 500 (section 4.2.4).
UNIMPLEMENTED = frozenset({"SEND", "SOML", "SAML", "TURN", "ETRN", "BURL"})

#: First words of other protocols. A browser can be made to send them here, cookies and all, and to read what
#: comes back as if it came from a web server (ALPACA): such a connection is closed and nothing echoed.
FOREIGN = frozenset(
    {"GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "CONNECT", "PATCH", "TRACE", "PRI", "SSH"}
)

#: What is said at the end of a message that cannot be taken.
DATA_FAULTS: Mapping[DataFault, Reply] = MappingProxyType(
    {
        # RFC 5321 section 2.3.8; 5.6.11 is what large senders call "bare line feeds are illegal".
        DataFault.BARE_LINE_END: Reply(
            550, "5.6.11", "Lines must end with CR LF; a bare CR or LF is not allowed"
        ),
        DataFault.NUL: Reply(550, "5.6.0", "The message has a NUL octet in it"),
        DataFault.TOO_LARGE: Reply(552, "5.3.4", "The message is too large"),
    }
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a service asks and allows. `line_ends` is what becomes of bare CR and LF in a message."""

    hostname: str
    #: Octets of a message.
    size: int
    #: Recipients of a message.
    recipients: int
    #: AUTH is part of the service and must come before MAIL (RFC 6409 section 4.3).
    login_required: bool
    #: Failed logins before the connection is closed.
    failures_closed: int
    line_ends: LineEnds
    #: RFC 2033: LHLO in place of EHLO, and after the message a reply for each recipient.
    lmtp: bool = False
    #: EXPN is answered, to those who logged in.
    expands: bool = False
