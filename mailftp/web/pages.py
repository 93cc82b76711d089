"""A page: what is asked, in plain values, and what is answered. No page knows of a transport."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface, implementer

from mailftp.web.forwarded import Origin
from mailftp.web.hosts import Host

if TYPE_CHECKING:
    from mailftp.web.reception import Begun
    from mailftp.web.streaming import Pieces

#: Octets of a request's body, where a page does not say otherwise.
BODY = 64 * 1024


class IVisit(Interface):
    """The component of a request that says who asks: `IVisit(request)` in a resource below the root."""

    origin = Attribute("mailftp.web.forwarded.Origin")
    host = Attribute("mailftp.web.hosts.Host; as the client named it")
    base = Attribute("The URL of the root, ending in a slash, as the client sees it")


@implementer(IVisit)
@dataclass(frozen=True, slots=True)
class Visit:
    """One request."""

    origin: Origin
    host: Host
    #: "https://mail.example.test/prefix/".
    base: str
    method: str = "GET"
    #: The first value of each argument of the query; what is not UTF-8 is replaced.
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    #: The request's header: names in lower case, the lines of a field joined by commas, of cookies by "; ".
    fields: Mapping[str, str] = field(default_factory=dict)
    #: Of a page that has all that is beneath a path: the segments there, decoded.
    rest: tuple[str, ...] = ()
    #: The same before they were decoded: names of files need not be UTF-8.
    segments: tuple[bytes, ...] = ()
    #: Of a page that takes the body as it comes: what its BodyTaker gave.
    received: Any = None

    @property
    def media_type(self) -> str:
        """Of Content-Type, in lower case and without parameters."""
        return self.fields.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Answer:
    body: bytes
    kind: str = "text/plain; charset=utf-8"
    status: int = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)
    #: In place of `body`: sent as it is made, no faster than the client takes it.
    pieces: Pieces | None = None
    #: In place of `body`: given the request, whose header is set, to write to it for as long as it likes.
    take: Callable[[Any], None] | None = None


class Page:
    """Answers one path."""

    #: HEAD is GET without the body, OPTIONS is answered from this.
    methods: ClassVar[tuple[str, ...]] = ("GET",)
    body_limit: int = BODY
    #: What is no UTF-8 beneath it is refused; else `Visit.rest` is empty and `Visit.segments` are to be read.
    utf8: ClassVar[bool] = True

    def begin(self, visit: Visit) -> Begun | None:
        """Before the body of a request with one of `methods` comes. None: it is kept in memory. Otherwise
        nothing of it is kept until what this gives has fired."""
        return None

    def not_taken(self, failure: Failure) -> Answer | None:
        """The body could not be taken whole. None: that is our fault, which is logged."""
        return None

    def answer(self, visit: Visit) -> Answer | Deferred[Answer]:
        """Called with one of `methods`."""
        raise NotImplementedError


def refusal(status: int, words: str, **headers: str) -> Answer:
    """An error, in words that say what to do."""
    phrase = HTTPStatus(status).phrase
    text = f"{status} {phrase}: {words}\n"
    return Answer(text.encode(), status=status, headers={n.replace("_", "-"): v for n, v in headers.items()})
