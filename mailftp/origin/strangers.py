"""What a client from elsewhere meets before its mail is looked at: how fast it may be, whether it waits to be
greeted, whether a blocklist knows it, whether it comes again when it is asked to."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from mailftp.origin.checks import is_trusted
from mailftp.origin.dnsbl import Listing, look_up
from mailftp.origin.greylist import Greylist
from mailftp.origin.lookups import Enquiry, Lookup
from mailftp.origin.policy import Refusal
from mailftp.settings import Network, StrangerSettings
from mailftp.wire.journal import Journal
from mailftp.wire.peer import Peer
from mailftp.wire.rates import Keys, Rates, keys

#: Networks that waited for their greeting once, and seconds for which they need not again.
PATIENT, PATIENT_SECONDS = 10_000, 86400.0
#: Seconds for the questions to one blocklist.
_LIST_SECONDS = 10.0
#: Seconds over which the pace of a message is taken: somebody may type it.
PACE_SECONDS = 120.0
#: The wait of a refused recipient grows with their number in a connection, up to so many times.
_UNKNOWN = 10

FASTER = Refusal(421, "4.7.0", "Too many connections from your network, try again later")
EARLY = Refusal(554, "5.5.1", "You spoke before you were greeted")


class Pace:
    """How fast a message comes, by spans of PACE_SECONDS."""

    __slots__ = ("_rate", "_since", "octets")

    def __init__(self, rate: int, now: float) -> None:
        """`rate` is in octets a second."""
        self._rate, self._since = rate, now
        #: Since the span began; whoever receives them counts.
        self.octets = 0

    def restart(self, now: float) -> None:
        """It is we who are slow."""
        self._since, self.octets = now, 0

    def too_slow(self, now: float) -> bool:
        if now - self._since < PACE_SECONDS:
            return False
        slow = self.octets < self._rate * (now - self._since)
        self.restart(now)
        return slow


class Strangers:
    """Those of one server, of all its services that take mail."""

    def __init__(
        self,
        settings: StrangerSettings,
        trusted: Sequence[Network],
        clock: IReactorTime,
        resolver: Lookup,
        greylist: Greylist | None = None,
        now: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`trusted` are networks of no strangers; `now` gives seconds since the epoch, for the grey list."""
        self.settings, self.clock, self.now = settings, clock, now
        self._trusted = tuple(trusted)
        self.resolver, self.greylist = resolver, greylist
        self.connections = Rates(settings.connections_per_minute)
        self.commands = Rates(settings.commands_per_minute)
        self._patient: OrderedDict[int, float] = OrderedDict()

    def visitor(self, peer: Peer, public: bool) -> Visitor | None:
        """A connection that begins; None: nothing here is for it. `public`: anybody may bring mail where it
        came; else accounts alone, and only how fast it is counts."""
        return None if is_trusted(peer, self._trusted) else Visitor(self, peer, public)

    def is_patient(self, network: int) -> bool:
        until = self._patient.get(network)
        return until is not None and self.clock.seconds() < until

    def note_patience(self, network: int) -> None:
        self._patient[network] = self.clock.seconds() + PATIENT_SECONDS
        self._patient.move_to_end(network)
        if len(self._patient) > PATIENT:
            self._patient.popitem(last=False)


class Visitor:
    """One connection of a stranger. `leave` when it is gone."""

    def __init__(self, strangers: Strangers, peer: Peer, public: bool) -> None:
        self._strangers, self._peer, self._public = strangers, peer, public
        self._keys: Keys = keys(peer)
        self._refused = 0
        #: Answers that were not waited for yet; None: nobody was asked.
        self._listings: list[Deferred[Listing | None]] | None = None
        self._listed: Listing | None = None

    def admit(self) -> Refusal | None:
        """Count the connection."""
        strangers = self._strangers
        return None if strangers.connections.count(self._keys, strangers.clock.seconds()) else FASTER

    def command(self) -> bool:
        """Count a command; False when it comes too fast."""
        return self._strangers.commands.count(self._keys, self._strangers.clock.seconds())

    @property
    def greeting_delay(self) -> float:
        """Seconds before it is greeted; a program that sends without listening gives itself away."""
        if not self._public or (self._keys and self._strangers.is_patient(self._keys[0])):
            return 0.0
        return self._strangers.settings.greeting_delay

    def waited(self) -> None:
        """It was greeted, and had said nothing before."""
        if self._keys:
            self._strangers.note_patience(self._keys[0])

    def unknown_recipient(self) -> float:
        """Seconds that the refusal of a recipient is held back: lists of guessed names take long."""
        if not self._public:
            return 0.0
        self._refused += 1
        return self._strangers.settings.unknown_recipient_delay * min(self._refused, _UNKNOWN)

    def ask_lists(self) -> None:
        """Begin to ask, so that the answer is there when it is wanted."""
        zones = self._strangers.settings.dnsbl if self._public else ()
        address = self._peer.address
        if self._listings is None and zones and address is not None:
            enquiry = Enquiry(self._strangers.resolver, self._strangers.clock, _LIST_SECONDS, 4 * len(zones))
            self._listings = [
                Deferred.fromCoroutine(enquiry.answer(look_up(address, zone))) for zone in zones
            ]

    async def recipient(self, sender: str, recipient: str) -> Refusal | None:
        """Why this client may not send to a recipient that there is. `sender` is "" for the null one.

        The postmaster takes mail of everybody: whoever is refused wrongly has to be able to say so (RFC 5321
        section 4.5.1).
        """
        if not self._public or recipient.lower().partition("@")[0] == "postmaster":
            return None
        listing = await self._listing()
        if listing is not None:
            said = f": {listing.reason}" if listing.reason else ""
            return Refusal(550, "5.7.1", f"{self._peer.address} is listed by {listing.zone}{said}")
        return await self._greylisted(sender, recipient)

    @property
    def asks_recipients(self) -> bool:
        """Whether `recipient` has anything to ask."""
        settings = self._strangers.settings
        return self._public and bool(settings.dnsbl or settings.greylist)

    async def _listing(self) -> Listing | None:
        self.ask_lists()
        while self._listed is None and self._listings:
            self._listed = await self._listings.pop(0)
        return self._listed

    async def _greylisted(self, sender: str, recipient: str) -> Refusal | None:
        strangers = self._strangers
        if strangers.greylist is None or not strangers.settings.greylist:
            return None
        delay, now = int(strangers.settings.greylist), int(strangers.now())
        # One host of a farm sends first, and another one comes again.
        network = self._peer.network(1)
        try:
            wait = await strangers.greylist.ask(network, sender, recipient, delay, now)
        except Exception:
            # Mail comes before the list.
            journal = Journal("server")
            journal.fault("greylist failed")
            return None
        return Refusal(451, "4.7.1", f"You are new here, try again in {wait} seconds") if wait else None

    def pace(self) -> Pace | None:
        """Of a message that begins to arrive; None: it may take its time."""
        rate = self._strangers.settings.data_rate
        return Pace(rate, self._strangers.clock.seconds()) if rate else None

    def leave(self) -> None:
        listings, self._listings = self._listings, []
        for each in listings or ():
            each.addErrback(lambda _: None)
            each.cancel()
