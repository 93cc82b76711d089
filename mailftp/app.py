"""The composition root: settings in, a MultiService out.

`make_server` is the way in. What it gives runs below `twistd`, from a .tac file, or inside somebody else's
MultiService: it installs no signal handler and no log observer.

Order. Sockets are bound by `privilegedStartService`, so that ports below 1024 can be had before privileges
are dropped; the store is opened only after, so that its files belong to whom the server runs as. Nobody is
let in before the store is open. Stopping goes the other way: no new connections, those that are there
finish what is in flight, then delivery, then the store.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.portal import Portal
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredList, DeferredLock

from mailftp.delivery.service import DeliveryService
from mailftp.dns.prepared import PreparedAnswers
from mailftp.dns.resolver import Resolver
from mailftp.dns.zone import Zones
from mailftp.doors import AnyDoor, DatagramDoor, Door
from mailftp.files.policy import IFilePolicy
from mailftp.ftp.events import IFileWatcher
from mailftp.ftp.server import FTPConnection
from mailftp.intake.hooks import IMailHook
from mailftp.intake.intake import Intake
from mailftp.operation.admin import Refused, perform
from mailftp.operation.control import ControlService
from mailftp.operation.files import REQUESTS, perform_files
from mailftp.operation.systemd import SystemdNotifier
from mailftp.rooms import PROTOCOLS, Foundations, Rooms, furnish, keeps_login
from mailftp.settings import IMPLICIT_TLS, Settings
from mailftp.settings.file import SettingsFault, notices
from mailftp.setup.secret import read_or_make_secret
from mailftp.store.engine import StoreFault
from mailftp.store.lock import DataLock, acquire
from mailftp.store.open import open_store
from mailftp.wire.connection import ConnectionFactory
from mailftp.wire.journal import Journal
from mailftp.wire.listener import CannotListen
from mailftp.wire.tls import Certificates
from mailftp.wire.watch import CertificateWatch
from mailftp.zones import load_zones

__all__ = ["Server", "StartFault", "make_server"]


class StartFault(Exception):
    """The server cannot start; the text is a line for the operator."""


class Server(MultiService):
    """Every service that the settings name, over one store. Its children are the doors.

    `started` fires when it serves, or fails with StartFault. `reread` gives the settings that a reload
    takes; without it a reload takes the certificates alone.
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        *,
        checkers: Sequence[ICredentialsChecker] = (),
        portal: Portal | None = None,
        hooks: Sequence[IMailHook] = (),
        watchers: Sequence[IFileWatcher] = (),
        file_policies: Sequence[IFilePolicy] = (),
        notifier: SystemdNotifier | None = None,
        reread: Callable[[], Settings] | None = None,
    ) -> None:
        """Raises StartFault for a certificate or a store that cannot be used."""
        super().__init__()  # type: ignore[no-untyped-call]  # untyped upstream
        self.settings = settings
        self.started: Deferred[None] = Deferred()
        #: Called with the settings of a reload that was taken: the log observer follows by it.
        self.heed: Callable[[Settings], None] = lambda settings: None
        self.reread = reread
        self._reactor = reactor
        self._notifier = notifier or SystemdNotifier({}, reactor)
        self._journal = Journal("server")
        try:
            self._certificates = Certificates(settings.tls) if settings.tls is not None else None
            store = open_store(settings, reactor)
        except (ValueError, StoreFault) as fault:
            raise StartFault(str(fault))
        self._base = Foundations(settings, reactor, store, checkers, portal, hooks, watchers, file_policies)
        self._rooms: Rooms | None = None
        self._delivery: Outbound | None = None
        self._changing_outbound = DeferredLock()
        #: Where this server takes mail itself: delivery must not call it, or a message would go round.
        self._own_addresses: set[tuple[str, int]] = set()
        self._control = ControlService(settings.data, self._perform, reactor)
        self._lock: DataLock | None = None
        self._starting: Deferred[None] | None = None
        self._watch: _Watch | None = None
        #: What is to be ended, in the order in which it was begun.
        self._ending: list[Callable[[], Any]] = []
        #: Doors that a reload closed, with those who are still inside.
        self._retired: list[AnyDoor] = []
        #: Older ones, whose connections keep what they began with.
        self._older: list[Rooms] = []
        try:
            for service, endpoint in self._endpoints(settings):
                self._make_door(service, endpoint).setServiceParent(self)  # type: ignore[no-untyped-call]
        except CannotListen as fault:
            raise StartFault(str(fault))

    @property
    def doors(self) -> tuple[AnyDoor, ...]:
        return tuple(self)

    # Starting.

    @staticmethod
    def _endpoints(settings: Settings) -> Iterable[tuple[str, str]]:
        for service, endpoints in settings.listen.items():
            if service in PROTOCOLS:
                for endpoint in endpoints:
                    yield service, endpoint

    def _make_door(self, service: str, endpoint: str) -> AnyDoor:
        if endpoint.startswith(("udp:", "udp6:")):
            return DatagramDoor(endpoint, service, self._reactor, self._base.authority)
        tls = None
        if service in IMPLICIT_TLS:
            assert self._certificates is not None, "the settings say that there is a certificate"
            tls = self._certificates.service(service)
        try:
            return Door(
                endpoint,
                service,
                self._reactor,
                tls=tls,
                trusted=self.settings.proxy.trusted,
                # A proxy of the web speaks for its clients in HTTP.
                proxy_required=PROTOCOLS[service] != "http",
            )
        except ValueError as fault:
            raise CannotListen(str(fault))

    def privilegedStartService(self) -> None:
        """Raises StartFault when a socket cannot be had; none is left bound then."""
        try:
            super().privilegedStartService()  # type: ignore[no-untyped-call]  # untyped upstream
        except CannotListen as fault:
            self._unbind()
            raise StartFault(str(fault))

    def startService(self) -> None:
        """Raises StartFault when a socket or the data folder cannot be had; the rest of the start is told by
        `started`."""
        try:
            self.settings.data.mkdir(0o700, parents=True, exist_ok=True)
            self._lock = acquire(self.settings.data)
            self._base.secret = read_or_make_secret(self.settings.data)
            MultiService.startService(self)  # type: ignore[no-untyped-call]  # binds what is not bound yet
        except (OSError, StoreFault, CannotListen) as fault:
            self._release()
            self._unbind()
            words = f"{fault.filename}: {fault.strerror}" if isinstance(fault, OSError) else str(fault)
            raise StartFault(words)
        self._starting = Deferred.fromCoroutine(self._start())

    def _unbind(self) -> None:
        self.running = 0
        for door in self.doors:
            door.stopService().addErrback(lambda _: None)

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def _start(self) -> None:
        try:
            await self._build()
        except Exception as fault:
            self._journal.fault("start failed")
            await self._end()
            self.started.errback(StartFault(f"cannot start: {fault}"))
            return
        for notice in notices(self.settings):
            self._journal.warn("notice", text=notice)
        self._journal.record(
            "started", listening=[f"{door.service}={door.whereabouts}" for door in self.doors]
        )
        self._notifier.ready()
        self.started.callback(None)

    async def _build(self) -> None:
        base = self._base
        for start, stop in base.parts():
            self._ending.append(stop)
            started = start()
            if isinstance(started, Deferred):
                await started
        base.serve_zones(await self._load_zones(self.settings), self.settings)
        rooms = self._rooms = furnish(base, self.settings)
        self._ending.append(self._stop_intakes)
        self._delivery = self._make_outbound(self.settings, rooms.intake)
        self._delivery.start()
        base.idle_queue = lambda: self._delivery.idle if self._delivery is not None else "it has ended"
        self._ending.append(self._stop_outbound)
        self._open_doors(rooms)
        self._ending.append(self._close_doors)
        self._control.startService()
        self._ending.append(self._control.stopService)
        self._watch_certificates()
        self._ending.append(self._stop_watching)

    async def _load_zones(self, settings: Settings) -> PreparedAnswers:
        """Raises ValueError for a zone or a key that cannot be used."""
        if not settings.listen.get("dns"):
            return PreparedAnswers(Zones(()))
        return await self._base.files.run(lambda: PreparedAnswers(load_zones(settings, keep=True)))

    def _open_doors(self, rooms: Rooms, anew: bool = True) -> None:
        """Let people in; with `anew` by new factories, else only at doors that have none."""
        factories: dict[str, ConnectionFactory] = {}
        for door in self.doors:
            if anew or not door.furnished:
                if door.service not in factories:
                    factories[door.service] = rooms.factory(door.service, self._base, self._certificates)
                door.change(factories[door.service])
            door.open()
        self._own_addresses.clear()
        self._own_addresses.update(
            (address.host, address.port)
            for door in self.doors
            if door.service == "smtp"
            for address in door.addresses
            if isinstance(address, IPv4Address | IPv6Address)
        )

    def _make_outbound(self, settings: Settings, intake: Intake) -> Outbound:
        """Raises ValueError for a route or a file that cannot be used."""
        resolver = Resolver(settings.dns, self._reactor)
        service = DeliveryService(
            settings, self._base.store, resolver, intake, self._reactor, self._own_addresses
        )
        return Outbound(service, resolver)

    # Stopping.

    def stopService(self) -> Deferred[None]:
        """Fires when everybody has gone and everything is kept."""
        Service.stopService(self)  # type: ignore[no-untyped-call]  # the doors are closed in their turn
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._notifier.stopping()
        if self._starting is not None:
            # The store cannot be closed while it is being opened; a failure has been told by `started`.
            await self._starting
            self._starting = None
        await self._end()
        self._journal.record("stopped")

    async def _end(self) -> None:
        """End what was begun, the last first; one that fails does not keep the others."""
        while self._ending:
            end = self._ending.pop()
            try:
                ended = end()
                if isinstance(ended, Coroutine | Deferred):
                    await ended
            except Exception:
                self._journal.fault("not ended cleanly")
        await self._close_doors()
        self._release()

    def _close_doors(self) -> Deferred[None]:
        leaving = [door.stopService() for door in self.doors]
        leaving += [door.drain() for door in self._retired]
        self._retired.clear()
        return DeferredList(leaving, consumeErrors=True).addCallback(lambda _: None)

    async def _stop_outbound(self) -> None:
        # A reload may still wait for the older one: what it has under way is recorded before the store goes.
        async with self._changing_outbound:
            if self._delivery is not None:
                await self._delivery.stop()

    async def _stop_intakes(self) -> None:
        if self._rooms is not None:
            self._older.append(self._rooms)
            self._rooms = None
        while self._older:
            await self._older.pop().stop()

    def _clear_out(self) -> None:
        """Let go of what former reloads left behind and nobody uses any more."""
        for rooms in self._older:
            if not rooms.occupied:
                rooms.stop().addErrback(lambda _: None)
        self._older = [rooms for rooms in self._older if rooms.occupied]
        self._retired = [door for door in self._retired if door.occupied]

    # What an operator asks.

    async def _perform(self, request: Mapping[str, Any]) -> Any:
        if request.get("do") == "reload":
            return await self.reload()
        if request.get("do") in REQUESTS:
            return perform_files(request, self._ftp_sessions(), self._base.watchers, self._journal)
        return await perform(self._base.store, self.settings, request, self._journal)

    def _ftp_sessions(self) -> Iterable[FTPConnection]:
        for rooms in (*self._older, *((self._rooms,) if self._rooms is not None else ())):
            for factory in rooms.factories:
                for connection in factory.connections:
                    if isinstance(connection, FTPConnection):
                        yield connection

    async def reload(self) -> list[str]:
        """Take new settings and certificates; nobody is dropped. Answers notices, a line each.

        Raises Refused, with every fault a line, when they cannot be taken; nothing has changed then.
        """
        self._notifier.reloading()
        try:
            notes = await self._reload()
        except Refused as refused:
            self._journal.warn("reload refused", reason=str(refused))
            raise
        finally:
            self._notifier.ready()
        self._journal.record("reloaded")
        for note in notes:
            self._journal.warn("notice", text=note)
        return notes

    async def _reload(self) -> list[str]:
        if self._rooms is None or not self.running:
            raise Refused("the server is starting or stopping")
        try:
            wanted = self.settings if self.reread is None else await self._base.files.run(self.reread)
        except SettingsFault as fault:
            raise Refused(str(fault))
        settings, notes = fixed(self.settings, wanted)
        swap = await self._prepare_certificates(settings)
        try:
            answers = await self._load_zones(settings)
        except ValueError as fault:
            raise Refused(str(fault))
        if not self.running or self._rooms is None:
            raise Refused("the server is stopping")
        rooms, outbound = self._rooms, None
        try:
            if settings != self.settings:
                login = rooms.login if keeps_login(self.settings, settings) else None
                rooms = furnish(self._base, settings, login)
                outbound = self._make_outbound(settings, rooms.intake)
            opened = self._open_new_doors(settings)
        except (ValueError, CannotListen) as fault:
            if rooms is not self._rooms:
                rooms.stop().addErrback(lambda _: None)
            raise Refused(str(fault))
        # From here on nothing can fail.
        swap()
        self._base.serve_zones(answers, settings)
        self._follow(settings, rooms, opened)
        self.heed(settings)
        if outbound is not None:
            await self._change_outbound(outbound)
        self._clear_out()
        return [*notes, *notices(settings)]

    async def _prepare_certificates(self, settings: Settings) -> Callable[[], None]:
        """Read them in a thread. What it gives makes them the ones that new connections have."""
        if settings.tls is None:
            return lambda: setattr(self, "_certificates", None)
        try:
            certificates = self._certificates
            if certificates is None:
                made = await self._base.files.run(partial(Certificates, settings.tls))
                return lambda: setattr(self, "_certificates", made)
            before, certificates.settings = certificates.settings, settings.tls
            try:
                return await self._base.files.run(certificates.prepare)
            except ValueError:
                certificates.settings = before
                raise
        except ValueError as fault:
            raise Refused(str(fault))

    def _open_new_doors(self, settings: Settings) -> tuple[AnyDoor, ...]:
        """Bind what is new. Raises CannotListen, with nothing bound, when one cannot be."""
        there = {(door.service, door.endpoint) for door in self.doors}
        bound: list[AnyDoor] = []
        try:
            for service, endpoint in self._endpoints(settings):
                if (service, endpoint) not in there:
                    door = self._make_door(service, endpoint)
                    door.privilegedStartService()
                    bound.append(door)
        except CannotListen:
            for door in bound:
                door.stopService().addErrback(lambda _: None)
            raise
        return tuple(bound)

    def _follow(self, settings: Settings, rooms: Rooms, opened: tuple[AnyDoor, ...]) -> None:
        """New connections get what the settings say; those that are there keep what they began with."""
        wanted = set(self._endpoints(settings))
        for door in self.doors:
            if (door.service, door.endpoint) not in wanted:
                self._retired.append(door)
                door.retire()
                door.disownServiceParent()  # type: ignore[no-untyped-call]  # untyped upstream
        for door in opened:
            door.setServiceParent(self)  # type: ignore[no-untyped-call]  # untyped upstream
        self._base.follow(settings)
        anew = rooms is not self._rooms
        if anew and self._rooms is not None:
            self._older.append(self._rooms)
        self.settings, self._rooms = settings, rooms
        self._open_doors(rooms, anew)
        self._watch_certificates()

    async def _change_outbound(self, outbound: Outbound) -> None:
        """The queue is worked on by one at a time. What the older one has under way may end; what does not in
        time is due again."""
        async with self._changing_outbound:
            older, self._delivery = self._delivery, outbound
            if older is not None:
                await older.stop()
            if self.running:
                outbound.start()

    def _watch_certificates(self) -> None:
        """Keep an eye on the certificates that there are now."""
        watched = self._watch.certificates if self._watch is not None else None
        if watched is not self._certificates:
            self._stop_watching()
            if self._certificates is not None:
                self._watch = _Watch(self._certificates, self._reactor)
                self._watch.startService()

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.stopService()
            self._watch = None


class Outbound:
    """Delivery and the resolver that it asks, started and stopped together."""

    def __init__(self, service: DeliveryService, resolver: Resolver) -> None:
        self._service, self._resolver = service, resolver

    def start(self) -> None:
        self._service.startService()

    @property
    def idle(self) -> str:
        """Why the queue is not worked on, or ""."""
        return self._service.idle

    async def stop(self) -> None:
        if self._service.running:
            await self._service.stopService()
        await self._resolver.stop()


class _Watch(CertificateWatch):
    """One that tells what it watches."""

    def __init__(self, certificates: Certificates, reactor: Any) -> None:
        super().__init__(certificates, reactor)
        self.certificates = certificates


#: Keys that a running server cannot change: path in the settings -> its words.
_FIXED = ("data", "store", "workers", "proxy", "quota.mail", "quota.messages")


def fixed(now: Settings, wanted: Settings) -> tuple[Settings, list[str]]:
    """The wanted settings with what cannot change while the server runs as it is, and a notice for each."""
    notes = []
    for key in _FIXED:
        first, _, second = key.partition(".")
        old, new = getattr(now, first), getattr(wanted, first)
        if second:
            old, new = old, replace(new, **{second: getattr(old, second)})
            changed = new != getattr(wanted, first)
            wanted = replace(wanted, **{first: new})
        else:
            changed = old != new
            wanted = replace(wanted, **{first: old})
        if changed:
            notes.append(f"{key}: it changes at the next start")
    return wanted, notes


def make_server(
    settings: Settings,
    reactor: Any,
    *,
    checkers: Sequence[ICredentialsChecker] = (),
    portal: Portal | None = None,
    hooks: Sequence[IMailHook] = (),
    watchers: Sequence[IFileWatcher] = (),
    file_policies: Sequence[IFilePolicy] = (),
    notifier: SystemdNotifier | None = None,
    reread: Callable[[], Settings] | None = None,
) -> Server:
    """A MultiService with everything that the settings name.

    `checkers` take the place of the store's accounts, `portal` that of our realm as well: it is asked for the
    interfaces of `mailftp.accounts.avatars` and `mailftp.files.home`, or Twisted's IFTPShell and IMailbox.
    `hooks` are asked at each stage of a mail, `watchers` are told what happens to files, and
    `file_policies` asked before. `reread` gives the settings that `reload` takes. Raises StartFault.
    """
    return Server(
        settings,
        reactor,
        checkers=checkers,
        portal=portal,
        hooks=hooks,
        watchers=watchers,
        file_policies=file_policies,
        notifier=notifier,
        reread=reread,
    )
