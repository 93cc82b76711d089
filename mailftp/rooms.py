"""What one reading of the settings makes: who may log in, where mail goes, a factory for each service.

`Foundations` are made once and stay for as long as the server runs; `Rooms` are made anew by each reload
and stand on the same foundations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from twisted.cred.checkers import AllowAnonymousAccess, ICredentialsChecker
from twisted.cred.credentials import IAnonymous, IUsernamePassword
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred

from mailftp.accounts.avatars import IMailAccount
from mailftp.accounts.checkers import CertificateChecker, StoreChecker
from mailftp.accounts.credentials import IPassword
from mailftp.accounts.login import Login
from mailftp.accounts.maildrop import MaildropLocks
from mailftp.accounts.passwords import HashingThreads, Passwords
from mailftp.accounts.realm import MailRealm
from mailftp.accounts.sasl import Mechanisms
from mailftp.accounts.sessions import Sessions
from mailftp.dns.authority import Authority
from mailftp.dns.notify import Notifier
from mailftp.dns.prepared import PreparedAnswers
from mailftp.dns.resolver import Resolver
from mailftp.dns.server import QueryFactory
from mailftp.dns.servers import parse_server
from mailftp.files.home import IHome
from mailftp.files.homes import Homes
from mailftp.files.policy import IFilePolicy
from mailftp.files.rules import Rulebook
from mailftp.files.threads import FileThreads
from mailftp.ftp.events import IFileWatcher, Watchers
from mailftp.ftp.ledger import Ledger
from mailftp.ftp.pace import Allowances
from mailftp.ftp.server import FTPFactory
from mailftp.ftp.transfer_log import TransferLog
from mailftp.imap.mailbox_states import MailboxStates
from mailftp.imap.server import IMAPFactory
from mailftp.intake.faults import FaultRules
from mailftp.intake.hooks import IMailHook
from mailftp.intake.intake import Intake
from mailftp.origin.checks import Checks
from mailftp.origin.greylist import Greylist
from mailftp.origin.strangers import Strangers
from mailftp.pop3.expiry import Expiry
from mailftp.pop3.server import POP3Factory
from mailftp.pop3.visits import Visits
from mailftp.settings import IMPLICIT_TLS, Settings
from mailftp.settings.endpoints import listening_address
from mailftp.smtp.server import SMTPFactory
from mailftp.store.engine import Store
from mailftp.store.records import Account
from mailftp.web.authentication import Authentication
from mailftp.web.files.furnishing import add_files
from mailftp.web.files.page import HomeOf
from mailftp.web.furnishing import make_root
from mailftp.web.jmap.context import Ground
from mailftp.web.jmap.furnishing import add_jmap
from mailftp.web.monitoring import Health, Metrics, Watched
from mailftp.web.root import Root
from mailftp.web.server import HTTPFactory
from mailftp.web.webmail.furnishing import Mail, add_webmail
from mailftp.wire.connection import ConnectionFactory, Wiring
from mailftp.wire.limits import ConnectionLimits
from mailftp.wire.reading import PooledReader
from mailftp.wire.tls import Certificates

#: Service -> protocol: the key under which timeouts and plaintext rules are found.
PROTOCOLS = {
    "ftp": "ftp",
    "ftps": "ftp",
    "smtp": "smtp",
    "submission": "smtp",
    "submissions": "smtp",
    "lmtp": "smtp",
    "pop3": "pop3",
    "pop3s": "pop3",
    "imap": "imap",
    "imaps": "imap",
    "http": "http",
    "https": "http",
    "dns": "dns",
}


class Foundations:
    """What outlives a reload.

    `reactor` provides what a Twisted reactor does; `checkers` take the place of the store's own (`--auth`),
    `portal` that of the whole of ours; `hooks` are asked at each stage of a mail that comes by SMTP, and
    `watchers` are told what happens to files, and `file_policies` asked before.
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        store: Store,
        checkers: Sequence[ICredentialsChecker] = (),
        portal: Portal | None = None,
        hooks: Sequence[IMailHook] = (),
        watchers: Sequence[IFileWatcher] = (),
        file_policies: Sequence[IFilePolicy] = (),
    ) -> None:
        self.reactor = reactor
        #: Who hears of files; what they have counted outlives a reload.
        self.watchers = Watchers(watchers)
        self.file_policies = tuple(file_policies)
        self.store = store
        self.checkers = tuple(checkers)
        self.portal = portal
        # Nobody's mail is lost to them: with `capture` it goes nowhere anyway.
        self.hooks = (*hooks, FaultRules(reactor)) if settings.delivery.capture else tuple(hooks)
        self.sessions = Sessions(store)
        self.hashing = HashingThreads(reactor)
        self.files = FileThreads(reactor)
        #: What is sent from files is read by its threads where the page cache does not have it.
        self.reader = PooledReader(reactor)
        self.locks = MaildropLocks()
        self.ledger = Ledger(reactor, settings.data / "ftp-counts.sqlite", self.files)
        self.greylist = Greylist(settings.data / "greylist.sqlite", self.files.run)
        self._locks_file = settings.data / "maildrops.lock"
        self.visits = Visits()
        self.mailboxes = MailboxStates(store)
        self.expiry = Expiry(store, reactor)
        self.authority = Authority(reactor.seconds)
        self.notifier = Notifier(reactor)
        self.limits = ConnectionLimits(0, 0)
        #: Why the queue is not worked on, or "".
        self.idle_queue: Callable[[], str] = lambda: "it is not begun"
        #: From this come the salts that unknown names are given; the same at each start.
        self.secret = b""
        self.follow(settings)

    def follow(self, settings: Settings) -> None:
        """Go by these settings from now on. A reload that is refused must not come here: mail that expires is
        gone."""
        self.limits.total = settings.limits.connections
        self.limits.per_address = settings.limits.connections_per_ip
        self.expiry.after = settings.pop3.expire_after_retrieval
        log = settings.ftp.transfer_log
        form = settings.ftp.transfer_log_format
        self.transfer_log = None if log is None else TransferLog(log, form, self.files)
        self.watchers.own = () if self.transfer_log is None else (self.transfer_log,)

    def serve_zones(self, answers: PreparedAnswers, settings: Settings) -> None:
        """Give these answers from now on, and tell the secondaries."""
        secondaries = tuple(map(parse_server, settings.dns.secondaries))
        self.authority.change(answers, settings.dns.rate_limit, (server.address for server in secondaries))
        self.notifier.change(answers.zones, secondaries, answering_address(settings))

    def parts(self) -> Iterable[tuple[Callable[[], object], Callable[[], object]]]:
        """(start, stop) of each, in the order of starting; stopping goes the other way. Each gives a Deferred
        or nothing; a part whose start failed is stopped too."""
        yield self.files.startService, self.files.stopService
        yield _nothing, self._finish_transfer_log
        yield self.reader.startService, self.reader.stopService
        yield lambda: None, lambda: self.files.run(self.greylist.close)
        yield self.ledger.start, self.ledger.stop
        yield self.hashing.start, self.hashing.stop
        yield self.store.start, self.store.stop
        yield self.sessions.start, self.sessions.stop
        yield self.mailboxes.start, self.mailboxes.stop
        yield self._share_locks, self.locks.close
        yield self.expiry.start, self.expiry.stop
        yield (lambda: None), self.notifier.stop

    def _finish_transfer_log(self) -> Deferred[None] | None:
        return None if self.transfer_log is None else self.transfer_log.finish()

    def _share_locks(self) -> Deferred[None]:
        return self.files.run(partial(self.locks.share, self._locks_file))


@dataclass(frozen=True, slots=True)
class Rooms:
    settings: Settings
    login: Login
    mechanisms: Mechanisms
    intake: Intake
    strangers: Strangers
    #: FTP's logins, of both its services.
    allowances: Allowances
    #: What both web services answer from, and what another Twisted site may have.
    web: Root
    #: Who asks the web; its pages share it.
    authentication: Authentication
    _factories: list[ConnectionFactory] = field(default_factory=list)

    def factory(
        self, service: str, base: Foundations, certificates: Certificates | None
    ) -> ConnectionFactory:
        """The factory of a service in `PROTOCOLS`."""
        protocol = PROTOCOLS[service]
        wiring = Wiring(
            service=service,
            protocol=protocol,
            settings=self.settings,
            clock=base.reactor,
            limits=base.limits,
            tls=certificates.service(service) if certificates is not None else None,
            implicit_tls=service in IMPLICIT_TLS,
            reader=base.reader,
        )
        made: ConnectionFactory
        if protocol == "ftp":
            made = FTPFactory(
                wiring,
                self.login,
                base.reactor,
                self.allowances,
                watchers=base.watchers,
                ledger=base.ledger,
            )
        elif protocol == "dns":
            made = QueryFactory(wiring, base.authority)
        elif protocol == "pop3":
            made = POP3Factory(wiring, self.login, self.mechanisms, base.visits)
        elif protocol == "imap":
            made = IMAPFactory(wiring, self.login, self.mechanisms, base.mailboxes)
        elif protocol == "http":
            made = HTTPFactory(wiring, self.web)
        else:
            made = SMTPFactory(wiring, self.intake, self.login, self.mechanisms, base.hooks, self.strangers)
        self._factories.append(made)
        return made

    @property
    def factories(self) -> Sequence[ConnectionFactory]:
        return tuple(self._factories)

    def stop(self) -> Deferred[None]:
        """Nobody is let in by them any more."""
        self.authentication.stop()
        return self.intake.stop()

    @property
    def occupied(self) -> bool:
        """Whether somebody is still connected by one of the factories."""
        return any(factory.connections for factory in self._factories)


def furnish(base: Foundations, settings: Settings, login: Login | None = None) -> Rooms:
    """The rooms for these settings. `login` is kept where what it goes by is the same, and with it what the
    login guard remembers."""
    if login is None:
        portal = base.portal or _portal(base, settings)
        login = Login(portal, settings.auth, settings.domains, base.reactor)
    resolver = Resolver(settings.dns, base.reactor)
    checks = Checks(settings.origin, settings.hostname, resolver, base.reactor, base.files.run)
    intake = Intake(settings, base.store, checks=checks, secret=base.secret, run=base.files.run)
    strangers = Strangers(
        settings.strangers, settings.origin.trusted, base.reactor, resolver, base.greylist, time.time
    )
    allowances = Allowances(Rulebook(settings.ftp))
    web = make_root(settings)
    asked = Authentication(login, base.reactor)
    add_jmap(web, Ground(settings, base.store, time.time, run=base.files.run, intake=intake), asked)
    add_webmail(web, settings, _mail(base, settings, login), asked)
    watched = Watched(
        base.store,
        base.limits,
        base.reactor,
        time.time,
        base.watchers.counters.as_json,
        lambda: base.idle_queue(),
    )
    web.at("/health", Health(settings.http.monitoring, watched))
    web.at("/metrics", Metrics(settings.http.monitoring, watched))
    if isinstance(login.portal.realm, MailRealm):
        add_files(web, asked, _homes(login.portal.realm), base.reader)
    return Rooms(settings, login, Mechanisms(login.portal), intake, strangers, allowances, web, asked)


def _homes(realm: MailRealm) -> HomeOf:
    """The files of who asks the web are those that the same account has by FTP, with one count of them."""

    async def home_of(avatar: IMailAccount) -> IHome:
        home = realm.home_for(avatar.account, getattr(avatar, "read_only", False))
        return await home if isinstance(home, Deferred) else home

    return home_of


def _mail(base: Foundations, settings: Settings, login: Login) -> Mail:
    """What the pages need of the accounts."""
    passwords = Passwords(base.hashing, settings.auth.argon2, base.reactor)
    # Where others say who somebody is, a password in the store would be one more that opens the account.
    own = base.portal is None and not base.checkers
    return Mail(base.store, login, time.time, passwords.make_verifier if own else None, run=base.files.run)


def answering_address(settings: Settings) -> str:
    """The one address that the name service listens on; "" where that is each or several."""
    given = {listening_address(endpoint) for endpoint in settings.listen.get("dns", ())}
    address = given.pop() if len(given) == 1 else None
    return "" if address in (None, "::", "0.0.0.0") else address


def keeps_login(old: Settings, new: Settings) -> bool:
    """Whether nothing changed of what logins, homes and quotas go by."""
    return _login_keys(old) == _login_keys(new)


def _login_keys(settings: Settings) -> tuple[object, ...]:
    return settings.auth, settings.domains, settings.ftp, settings.quota, settings.pop3


def _portal(base: Foundations, settings: Settings) -> Portal:
    homes = Homes(settings, base.files, base.file_policies)

    def home_for(account: Account, read_only: bool) -> IHome | Deferred[IHome]:
        quota = settings.quota.files if account.files_quota is None else account.files_quota
        return homes.home_for(account.address, quota, read_only)

    def anonymous_home() -> IHome:
        home = homes.anonymous()
        assert home is not None, "asked for only where the settings name a folder"
        return home

    realm = MailRealm(
        base.store,
        base.sessions,
        home_for,
        domains=settings.domains,
        anonymous_home=anonymous_home if settings.ftp.anonymous is not None else None,
        locks=base.locks,
        expiring=settings.pop3.expire_after_retrieval is not None,
    )
    portal = Portal(realm)
    for checker in _checkers(base, settings):
        portal.registerChecker(checker)
    if settings.ftp.anonymous is not None:
        portal.registerChecker(AllowAnonymousAccess())
    return portal


def _checkers(base: Foundations, settings: Settings) -> Iterable[ICredentialsChecker]:
    """The store's, and those that take their place: a deployment's checker of passwords that of ours, with
    SCRAM; one of certificates or tokens stands beside our passwords."""
    yield CertificateChecker(base.store, settings.domains, mark=lambda: base.sessions.mark)
    taken = {kind for checker in base.checkers for kind in checker.credentialInterfaces}
    if not taken & {IPassword, IUsernamePassword, IAnonymous}:
        yield _store_checker(base, settings)
    yield from base.checkers


def _store_checker(base: Foundations, settings: Settings) -> ICredentialsChecker:
    passwords = Passwords(base.hashing, settings.auth.argon2, base.reactor)
    checker = StoreChecker(
        base.store,
        passwords,
        settings.domains,
        secret=base.secret,
        mark=lambda: base.sessions.mark,
    )
    return checker


def _nothing() -> None:
    """For a part that has nothing to start."""
