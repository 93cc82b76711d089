"""Mail transactions: the envelope and the message (RFC 5321 section 3.3)."""

from __future__ import annotations

from mailftp.smtp.conversation import Conversation
from mailftp.smtp.data import ChunkScanner, DataScanner, LineEnds
from mailftp.smtp.events import (
    BodyEnded,
    BodyReceived,
    BodySpoiled,
    DataAsked,
    Event,
    MailBegun,
    RecipientNamed,
    TransactionDropped,
)
from mailftp.smtp.rules import (
    DATA_FAULTS,
    DISCARDED,
    ENVELOPE,
    OUT_OF_ORDER,
    REFUSED_RECIPIENTS,
    State,
    Terms,
)
from mailftp.smtp.syntax import Reply, no_argument, parse_bdat, parse_mail, parse_rcpt

_RECIPIENT_OK = Reply(250, "2.1.5", "Recipient OK")
_SENDER_OK = Reply(250, "2.1.0", "Sender OK")
_NO_RECIPIENTS = Reply(554, "5.5.1", "No valid recipients")
#: Parameters of MAIL, and those that are offered to who logs in, and under TLS.
_MAIL = frozenset({"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "BY", "MT-PRIORITY"})
_MAIL_SUBMITTED = frozenset({"AUTH", "HOLDFOR", "HOLDUNTIL"})
_MAIL_SECURE = frozenset({"REQUIRETLS"})
_RCPT = frozenset({"NOTIFY", "ORCPT"})


class Transactions(Conversation):
    """MAIL, RCPT, DATA and what comes after it."""

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        self._scanner: DataScanner | None = None
        #: Recipients named of this transaction, those of them that were taken, and those refused in all.
        self._recipients = self._taken = self._refused = 0
        #: Octets of the commands that named them.
        self._envelope = 0
        self._chunks: ChunkScanner | None = None
        #: Octets to come of this chunk, those it has, and whether it is the last.
        self._chunk_left = self._chunk_size = 0
        self._chunk_last = False
        #: The chunk is thrown away, then this is said and the state is this again.
        self._chunk_refused: tuple[Reply, State] | None = None
        #: The transaction's addresses and header may be UTF-8.
        self.smtputf8 = False
        #: It may hold any octets, and comes in chunks.
        self.binary = False

    def _mail(self, argument: bytes) -> Event | None:
        """RFC 5321 section 4.1.1.2; RFC 1870 section 6.1."""
        if self.terms.login_required and not self.logged_in:
            starttls = self._starttls and not self._mechanisms
            text = "Say STARTTLS first, then AUTH" if starttls else "Authentication required"
            self._wrong(Reply(530, "5.7.0", text))
            return None
        offered = _MAIL
        if self.terms.login_required:
            offered |= _MAIL_SUBMITTED
        if self.secure:
            offered |= _MAIL_SECURE
        mail = parse_mail(argument, offered)
        if mail.size > self.terms.size:
            self._wrong(Reply(552, "5.3.4", f"A message may have {self.terms.size} octets"))
            return None
        self.smtputf8, self.binary = mail.smtputf8, mail.binary
        self._pending = self._mail_answered
        return MailBegun(mail)

    def _mail_answered(self, reply: Reply) -> None:
        if reply.code < 400:
            self.state, self._recipients, self._taken, self._envelope = State.MAIL, 0, 0, 0
            self._say(_SENDER_OK)
        else:
            self._wrong(reply)

    def _rcpt(self, argument: bytes) -> Event | None:
        """RFC 5321 sections 4.1.1.3 and 4.5.3.1.10."""
        rcpt = parse_rcpt(argument, _RCPT, self.smtputf8)
        self._envelope += len(argument)
        if self._recipients >= self.terms.recipients or self._envelope > ENVELOPE:
            self._recipient_beyond()
            return None
        self._pending = self._rcpt_answered
        return RecipientNamed(rcpt)

    def _recipient_beyond(self) -> None:
        """A client may go on naming recipients, in its pipeline, and then send to those that were taken."""
        self._recipients += 1
        if self._recipients > 10 * self.terms.recipients:
            self._cut("4.5.3", "too many recipients")
        else:
            self._say(Reply(452, "4.5.3", "Too many recipients; send to the others separately"))

    def _rcpt_answered(self, reply: Reply) -> None:
        if reply.code < 400:
            self.state = State.RCPT
            self._recipients += 1
            self._taken += 1
            self._say(_RECIPIENT_OK)
        else:
            self._recipient_refused(reply)

    def _recipient_refused(self, reply: Reply) -> None:
        self._refused += 1
        if self._refused > REFUSED_RECIPIENTS:
            self._cut("4.7.0", "too many bad recipients")
        else:
            self._say(reply)

    def _data(self, argument: bytes) -> Event | None:
        """RFC 5321 section 4.1.1.4."""
        no_argument("DATA", argument)
        if self.state is State.CHUNKS:
            self._data_refused(Reply(503, "5.5.1", OUT_OF_ORDER[self.state]))
            return None
        if self.state is State.MAIL:
            self._data_refused(self._no_recipients)
            return None
        if self.binary:
            # RFC 3030 section 3: a dot on a line of its own may be anywhere in it.
            self._data_refused(Reply(503, "5.5.1", "A message with BODY=BINARYMIME comes by BDAT"))
            return None
        self._pending = self._data_answered
        return DataAsked()

    @property
    def _no_recipients(self) -> Reply:
        """RFC 2033 section 4.2 insists on 503."""
        return Reply(503, "5.5.1", "No valid recipients") if self.terms.lmtp else _NO_RECIPIENTS

    def _data_answered(self, reply: Reply) -> None:
        if reply.code < 400:
            self.state = State.DATA
            self._scanner = DataScanner(self.terms.size, self.terms.line_ends)
            self._say(reply)
        else:
            self._data_refused(reply)

    def _data_refused(self, reply: Reply) -> None:
        """What is here already behind DATA may be a message, sent without waiting for 354 (against RFC 2920
        section 3.1): its lines must not be taken for commands."""
        self._wrong(reply)
        if self.unread and not self._ending:
            self._cut("4.5.0", "DATA was not waited for")

    def _forget(self, state: State) -> Event | None:
        """End the transaction, if there is one."""
        had = self.state in (State.MAIL, State.RCPT, State.CHUNKS)
        self.state, self._recipients, self._taken, self._chunks = state, 0, 0, None
        return TransactionDropped() if had else None

    # The message.

    def _read_message(self) -> Event | None:
        """RFC 5321 section 4.5.2. The end is an event of its own, after its last piece."""
        scanner = self._scanner
        if scanner is None:
            raise AssertionError("no scanner in DATA")
        if scanner.finished:
            return self._message_ended(scanner)
        if not self.unread:
            return None
        spoiled = scanner.fault is not None
        piece, rest = scanner.feed(self._lines.take_all())
        if rest:
            self._lines.add(rest)
        if scanner.fault and not spoiled:
            return BodySpoiled(DATA_FAULTS[scanner.fault])
        if piece:
            return BodyReceived(piece)
        return self._message_ended(scanner) if scanner.finished else None

    def _message_ended(self, scanner: DataScanner | ChunkScanner) -> Event | None:
        self._scanner = self._chunks = None
        if scanner.fault:
            self._message_answered(DATA_FAULTS[scanner.fault])
            return None
        self._pending = self._message_answered
        return BodyEnded(scanner.eightbit)

    def _message_answered(self, reply: Reply) -> None:
        self._all_answered([reply] * (self._taken if self.terms.lmtp else 1))

    def answer_each(self, replies: list[Reply]) -> None:
        """LMTP's answer to BodyEnded: a reply for each recipient that was taken, in their order."""
        if self._pending is None or not self.terms.lmtp or len(replies) != self._taken:
            raise AssertionError("these replies answer nothing")
        self._pending = None
        self._all_answered(replies)

    def _all_answered(self, replies: list[Reply]) -> None:
        self.state, self._recipients, self._taken = State.READY, 0, 0
        if any(reply.code < 400 for reply in replies):
            self._idle = self._bad = 0
        for reply in replies:
            if reply.code < 500 or self.terms.lmtp:
                self._say(reply)
            else:
                self._wrong(reply)

    # Chunks: RFC 3030.

    def _bdat(self, argument: bytes) -> Event | None:
        """RFC 3030 section 2. Whatever is wrong, the chunk's octets must not be taken for commands: where
        their number is not known the connection ends."""
        chunk = parse_bdat(argument)
        if chunk is None:
            self._end(Reply(501, "5.5.4", "Syntax: BDAT size [LAST]; what follows cannot be told"))
            return None
        self._chunk_size, self._chunk_last = chunk
        self._chunk_left, self._chunk_refused = self._chunk_size, None
        if self._chunk_left > DISCARDED * self.terms.size:
            self._end(Reply(552, "5.3.4", f"A message may have {self.terms.size} octets"))
            return None
        if self.state is State.RCPT:
            self._pending = self._chunks_answered
            return DataAsked()
        if self.state is not State.CHUNKS:
            begun = self.state is State.MAIL
            reply = self._no_recipients if begun else Reply(503, "5.5.1", OUT_OF_ORDER[self.state])
            self._chunk_refused = reply, self.state
        self.state = State.CHUNK
        return None

    def _chunks_answered(self, reply: Reply) -> None:
        if reply.code < 400:
            line_ends = LineEnds.BINARY if self.binary else self.terms.line_ends
            self._chunks = ChunkScanner(self.terms.size, line_ends)
        else:
            self._chunk_refused = reply, self.state
        self.state = State.CHUNK

    def _read_chunk(self) -> Event | None:
        """A piece of the chunk, or what follows its end."""
        piece = self._lines.take_most(self._chunk_left)
        self._chunk_left -= len(piece)
        if self._chunk_refused is not None:
            if not self._chunk_left:
                reply, self.state = self._chunk_refused
                self._wrong(reply)
            return None
        scanner = self._chunks
        if scanner is None:
            raise AssertionError("no scanner in CHUNK")
        spoiled = scanner.fault is not None
        piece = scanner.feed(piece)
        ended = not self._chunk_left
        if ended and self._chunk_last and not piece:
            piece = scanner.finish()
        if scanner.fault and not spoiled:
            return BodySpoiled(DATA_FAULTS[scanner.fault])
        if piece:
            return BodyReceived(piece)
        return self._chunk_ended(scanner) if ended else None

    def _chunk_ended(self, scanner: ChunkScanner) -> Event | None:
        if self._chunk_last:
            return self._message_ended(scanner)
        self.state = State.CHUNKS
        if scanner.fault:
            # Chunks that are in the pipeline behind the one that failed are no mistakes of their own.
            self._say(DATA_FAULTS[scanner.fault])
        elif self._chunk_size:
            self._say(Reply(250, "2.0.0", f"{self._chunk_size} octets received"))
        else:
            self._idled(Reply(250, "2.0.0", "No octets received"))
        return None
