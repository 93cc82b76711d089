"""A session with a server of no substance around it: who is known, what is kept, when answers come."""

from __future__ import annotations

from mailftp.smtp import events
from mailftp.smtp.data import LineEnds
from mailftp.smtp.rules import Terms
from mailftp.smtp.session import OK, START, Session
from mailftp.smtp.syntax import Reply

NOBODY = Reply(550, "5.1.1", "Nobody here")


def terms(**changed: object) -> Terms:
    known: dict[str, object] = {
        "hostname": "mx.example.test",
        "size": 100_000,
        "recipients": 5,
        "login_required": False,
        "failures_closed": 3,
        "line_ends": LineEnds.STRICT,
    }
    return Terms(**{**known, **changed})  # type: ignore[arg-type]


class Dialogue:
    """`exchange` feeds a session and answers what it asks. Addresses that begin with "no" are refused;
    AUTH PLAIN takes any name with the password "right", AUTH LOGIN asks twice."""

    def __init__(self, terms: Terms, mechanisms: tuple[str, ...] = (), starttls: bool = False) -> None:
        self.session = Session(terms)
        self.session.offer(mechanisms, starttls)
        self.session.greet()
        #: With True, events wait in `asked` until `answer_one` is called.
        self.slow = False
        self.asked: list[events.Event] = []
        self.messages: list[bytes] = []
        self.spoiled: list[Reply] = []
        self.transactions: list[tuple[str, list[str]]] = []
        self.was_closed = False
        self._body: list[bytes] = []
        self._name: bytes | None = None

    def closed(self) -> bool:
        return self.was_closed

    def exchange(self, data: bytes) -> bytes:
        self.session.receive(data)
        return self.advance()

    def advance(self) -> bytes:
        while (event := self.session.next_event()) is not None:
            if self.slow and self.session.waiting:
                self.asked.append(event)
            else:
                self.do(event)
        return self.session.replies()

    def answer_one(self) -> bytes:
        self.do(self.asked.pop(0))
        return self.advance()

    def do(self, event: events.Event) -> None:
        match event:
            case events.HelloSaid():
                self.session.answer(OK)
            case events.MailBegun(mail):
                self.transactions.append((str(mail.sender or ""), []))
                self.session.answer(NOBODY if str(mail.sender).startswith("no") else OK)
            case events.RecipientNamed(rcpt):
                if rcpt.recipient.local.startswith("no"):
                    self.session.answer(NOBODY)
                else:
                    self.transactions[-1][1].append(str(rcpt.recipient))
                    self.session.answer(OK)
            case events.AddressAsked(address):
                self.session.answer(NOBODY if address.local.startswith("no") else OK)
            case events.DataAsked():
                self._body = []
                self.session.answer(START)
            case events.BodyReceived(data):
                self._body.append(data)
            case events.BodySpoiled(reply):
                self.spoiled.append(reply)
            case events.BodyEnded():
                self.messages.append(b"".join(self._body))
                self.session.answer(OK)
            case events.LoginBegun(mechanism, response):
                self._log_in(mechanism, response)
            case events.LoginContinued(response):
                self._go_on(response)
            case events.Closed(_):
                self.was_closed = True

    def _log_in(self, mechanism: str, response: bytes | None) -> None:
        self._name = None
        if mechanism == "LOGIN" and response is None:
            self.session.challenge(b"Username:")
        elif response is None:
            self.session.challenge(b"")
        elif mechanism == "PLAIN" and not response:
            self.session.answer(Reply(501, "5.5.2", "Two NULs are needed"))
        else:
            self._go_on(response)

    def _go_on(self, response: bytes) -> None:
        if response.count(b"\0") == 2:
            password = response.rpartition(b"\0")[2]
        elif self._name is None:
            self._name = response
            self.session.challenge(b"Password:")
            return
        else:
            password = response
        right = password == b"right"
        self.session.answer(Reply(235, "2.7.0", "Authenticated") if right else Reply(535, "5.7.8", "Wrong"))
