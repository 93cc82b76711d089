"""What the commands of one session work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol, cast

from twisted.cred.credentials import ICredentials
from twisted.internet.defer import Deferred

from mailftp.accounts.avatars import IMailAccount
from mailftp.accounts.login import LoggedIn
from mailftp.accounts.sasl import Exchange
from mailftp.imap.commands import State
from mailftp.imap.fetch_items import Item
from mailftp.imap.mailbox_states import MailboxStates
from mailftp.imap.output import Output
from mailftp.imap.responses import Told
from mailftp.imap.responses import news as news_lines
from mailftp.imap.selected import SelectedView
from mailftp.imap.watch import Watch
from mailftp.settings import Settings
from mailftp.store.engine import Store
from mailftp.store.records import Account
from mailftp.wire.journal import Journal
from mailftp.wire.scan import TooLong

#: RFC 7162: what CONDSTORE is enabled by, and what QRESYNC enables.
CONDSTORE, QRESYNC = b"CONDSTORE", b"QRESYNC"
#: RFC 9051 section 6.3.1, RFC 6855 section 3, RFC 9586 section 3.
IMAP4REV2, UTF8_ACCEPT, UIDONLY = b"IMAP4REV2", b"UTF8=ACCEPT", b"UIDONLY"


@dataclass(frozen=True, slots=True)
class Offer:
    """What is on offer on this connection now."""

    #: STARTTLS can begin.
    starttls: bool = False
    #: A password may be sent as it is; else LOGINDISABLED.
    plaintext: bool = False
    sasl: tuple[str, ...] = ()
    #: Octets of a message that is taken.
    append_limit: int = 0


class Link(Protocol):
    """What a session needs of its connection (mailftp.imap.server)."""

    @property
    def journal(self) -> Journal: ...

    @property
    def secure(self) -> bool:
        """The octets are encrypted."""

    @property
    def settings(self) -> Settings: ...

    def now(self) -> float:
        """Seconds since the epoch."""

    def offer(self) -> Offer: ...

    def begin(self, mechanism: str) -> Exchange | None:
        """A SASL exchange; None when the mechanism is not on offer."""

    def attempt(self, credentials: ICredentials) -> Deferred[LoggedIn]:
        """Fails with LoginRefused, LoginThrottled or LoginUnavailable."""

    def entered(self, entered: bool) -> None:
        """Somebody has logged in, or out: other limits hold."""

    def start_tls(self) -> Deferred[None]:
        """Fires when the connection is encrypted."""

    def compress(self) -> bool:
        """Both directions are compressed from here (RFC 4978); False when octets that were not are there."""

    def read(self) -> None:
        """The session waits for what the client sends."""

    def abort(self) -> None:
        """End the connection without a word."""


class Context:
    """Who is logged in, what is selected, what is enabled. The session owns it; commands change it."""

    def __init__(self, link: Link, output: Output, states: MailboxStates) -> None:
        self.link = link
        self.output = output
        self.states = states
        self.logged_in: LoggedIn | None = None
        #: The selected mailbox; None in the other states.
        self.view: SelectedView | None = None
        #: By EXAMINE.
        self.read_only = False
        #: What ENABLE has enabled, in capitals; CONDSTORE also by the commands of RFC 7162 section 3.1.
        self.enabled: set[bytes] = set()
        #: UIDs that `$` stands for (RFC 5182), in order; of the selected mailbox.
        self.saved: list[int] = []
        #: The tag of the command that runs, as the client wrote it.
        self.tag = b""
        #: In IDLE: news are sent as they come.
        self.idling = False
        #: By NOTIFY; and what is fetched of each message that comes to the selected mailbox.
        self.watch: Watch | None = None
        self.watched_items: tuple[Item, ...] = ()
        #: Logins that failed.
        self.failures = 0
        #: Nothing more is said after the tagged response: LOGOUT.
        self.over = False
        #: Set by the session: waits for a line from the client, of at most so many octets; and what is to be
        #: called when there may be news of the selected mailbox, and of any.
        self.line: Callable[[int], Awaitable[bytes | TooLong]]
        self.heard: Callable[[], None]
        self.stirred: Callable[[], None]

    # Who.

    @property
    def _avatar(self) -> IMailAccount:
        assert self.logged_in is not None, "asked for in states where somebody is logged in"
        return cast(IMailAccount, self.logged_in.avatar)

    @property
    def account(self) -> Account:
        """As it was at login; its id is part of every unit and query."""
        return self._avatar.account

    @property
    def store(self) -> Store:
        return self._avatar.store

    def log_out(self) -> None:
        """Idempotent."""
        self.stop_watching()
        logged_in, self.logged_in = self.logged_in, None
        if logged_in is not None:
            logged_in.logout()

    @property
    def state(self) -> State:
        if self.logged_in is None:
            return State.NOT_AUTHENTICATED
        return State.AUTHENTICATED if self.view is None else State.SELECTED

    # How.

    @property
    def utf8(self) -> bool:
        """Names of mailboxes are UTF-8, and quoted strings may hold it."""
        return IMAP4REV2 in self.enabled or UTF8_ACCEPT in self.enabled

    @property
    def rev2(self) -> bool:
        return IMAP4REV2 in self.enabled

    @property
    def qresync(self) -> bool:
        return QRESYNC in self.enabled

    @property
    def condstore(self) -> bool:
        return CONDSTORE in self.enabled

    @property
    def uidonly(self) -> bool:
        return UIDONLY in self.enabled

    def told(self, *, uid: bool = False) -> Told:
        """How messages are spoken of; with `uid` in what answers a UID command, RFC 9051 section 6.4.9."""
        return Told(
            vanished=self.qresync or self.uidonly,
            modseq=self.condstore,
            uid=uid or self.qresync,
            uidonly=self.uidonly,
        )

    def enable_condstore(self) -> None:
        """By a command that asks for modseqs (RFC 7162 section 3.1); idempotent."""
        if not self.condstore:
            self.enabled.add(CONDSTORE)
            if self.view is not None:
                self.respond(b"OK [HIGHESTMODSEQ %d] modseqs are told" % self.view.state.modseq)

    # The selected mailbox.

    @property
    def selected(self) -> SelectedView:
        """The view, for commands that have one."""
        assert self.view is not None, "asked for in the selected state"
        return self.view

    async def refresh(self) -> None:
        """Everything that was committed before this call is in the view's state afterwards, and what the
        client was told of it is told with the command's tagged response. Raises LookupError when the mailbox
        is gone."""
        await self.states.refresh(self.selected)

    def leave_mailbox(self) -> None:
        """To the authenticated state, without expunging; idempotent."""
        view, self.view = self.view, None
        self.saved = []
        self.read_only = False
        if view is not None:
            self.states.close(view)

    def stop_watching(self) -> None:
        """As before any NOTIFY; idempotent."""
        watch, self.watch = self.watch, None
        if watch is not None:
            self.states.unwatch(self.account.id, watch)

    def news(self, *, expunges: bool, flags: bool = True) -> Iterable[bytes]:
        """Lines of what the client has to be told now; to be written at once. Without `flags` it hears of no
        flags that changed."""
        if self.view is None:
            return ()
        what = self.view.take_news(expunges=expunges)
        if what.vanished and self.saved:
            gone = set(what.vanished)
            self.saved = [uid for uid in self.saved if uid not in gone]
        return news_lines(self.view, what if flags else replace(what, changed=()), self.told())

    # Saying things.

    def respond(self, *lines: bytes) -> None:
        """Untagged responses, without `* ` and line end."""
        for line in lines:
            self.output.write(b"* %b\r\n" % line)

    async def ask(self, line: bytes, limit: int) -> bytes | TooLong:
        """A continuation request, and the line that answers it."""
        self.output.write(b"+ %b\r\n" % line)
        return await self.line(limit)


def text(words: str) -> bytes:
    """For people, in a response: one line of ASCII (RFC 3501) whatever a name in it holds."""
    return words.encode("ascii", "replace").replace(b"\r", b" ").replace(b"\n", b" ")
