"""The root of the web: checks who asks and by what name, finds the page, sees to the headers of every answer.

It is an IResource and a leaf: the server of this house has it as its site's root, and a Twisted application
may put it anywhere in its own (`site.putChild(b"mail", root)`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from mailftp.settings import Settings
from mailftp.web.forwarded import Origin, behind, forwarded, x_forwarded
from mailftp.web.hosts import Host, HostFault, OwnHosts, parse_host
from mailftp.web.pages import BODY, Answer, IVisit, Page, Visit, refusal
from mailftp.web.reception import Reception, take_whole
from mailftp.web.streaming import Streaming
from mailftp.wire.eager import eager
from mailftp.wire.journal import Journal
from mailftp.wire.peer import Peer

_POLICY = ("default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'")
#: Sent with every answer; a resource below may set others in their place. Nothing is loaded, framed, guessed.
HEADERS = {
    "Content-Security-Policy": "; ".join(_POLICY),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
#: RFC 6797 section 6.1: a year. Names below may be another's, so they are not included.
STRICT_TRANSPORT = "max-age=31536000"
#: Arguments of a query that are read.
ARGUMENTS = 100
#: Segments of the path of a page that has all that is beneath it.
DEEPEST = 4

#: Statuses that have no body, and no fields that describe one (RFC 9110 sections 15.3.5 and 15.4.5).
_BODYLESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})

_JOURNAL = Journal("http")
_WRONG = refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong here, try again later")


class Refused(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body)
        self.answer = answer


@implementer(IResource)
class Root:
    """`at` places a page at one path, `below` a Twisted resource with all that is below a first segment."""

    isLeaf = True
    server = None

    def __init__(self, settings: Settings) -> None:
        self.hosts = OwnHosts(settings.hostname, settings.domains, settings.http.hosts)
        self._trusted = settings.proxy.trusted
        self._rfc_7239 = settings.http.forwarded == "forwarded"
        self._prefix = tuple(part.encode() for part in settings.http.prefix.split("/") if part)
        self._pages: dict[tuple[bytes, ...], Page] = {}
        self._beneath: dict[tuple[bytes, ...], Page] = {}
        self._below: dict[bytes, IResource] = {}
        self._limits: dict[bytes, int] = {}
        self._journal = _JOURNAL

    def at(self, path: str, page: Page) -> None:
        """`path` is "/a/b", from the root."""
        self._pages[_segments(path.encode())] = page

    def beneath(self, path: str, page: Page) -> None:
        """All that is beneath "/a/b" where nothing has a place of its own: `Visit.rest` says what."""
        self._beneath[_segments(path.encode())] = page

    def _page(self, path: tuple[bytes, ...]) -> tuple[Page | None, tuple[bytes, ...]]:
        """The page for a path, and what is left of the path."""
        page = self._pages.get(path)
        if page is not None:
            return page, ()
        for length in range(min(len(path), DEEPEST), 0, -1):
            page = self._beneath.get(path[:length])
            if page is not None:
                return page, path[length:]
        return None, ()

    def below(self, name: str, resource: IResource, body_limit: int = BODY) -> None:
        """Everything at "/<name>" and below is this resource's; `IVisit(request)` says who asks."""
        self._below[name.encode()] = resource
        self._limits[name.encode()] = body_limit

    def body_limit(self, target: bytes) -> int:
        """Octets that the body of a request for this target may have."""
        path = self._stripped(_segments(target.partition(b"?")[0]))
        page, _ = self._page(path)
        return page.body_limit if page is not None else self._limits.get(path[0] if path else b"", BODY)

    # IResource.

    def getChildWithDefault(self, name: bytes, request: Any) -> IResource:
        raise RuntimeError("a leaf has no children")

    def putChild(self, path: bytes, child: IResource) -> None:
        """Twisted's own name for `below`."""
        self.below(path.decode(), child)

    def render(self, request: Any) -> Any:
        """Answers, now or later."""
        for name, value in HEADERS.items():
            request.setHeader(name, value)
        # What software answers, and in which version, is nobody's business.
        request.responseHeaders.removeHeader(b"Server")
        try:
            visit = self._visit(request)
            if visit.origin.secure and not visit.host.literal and visit.host.name != "localhost":
                request.setHeader("Strict-Transport-Security", STRICT_TRANSPORT)
            path = self._stripped(tuple(request.postpath))
            page, rest = self._page(path)
            if page is None:
                return self._pass_on(request, visit, path)
            visit = replace(_beneath(page, visit, rest), received=getattr(request, "received", None))
            answered = self._ask(page, visit)
        except Refused as refused:
            answered = refused.answer
        except Exception:
            self._journal.fault("page failed")
            answered = _WRONG
        if isinstance(answered, Answer):
            _write(request, answered)
        else:
            _write_later(request, answered, self._journal)
        return NOT_DONE_YET

    def begin(self, request: Any, hold: Callable[[bool], None]) -> Reception | None:
        """A request's header has come, and a body will. None: it is kept in memory."""
        page, rest = self._page(self._stripped(tuple(map(unquote_to_bytes, _segments(request.path)))))
        if page is None:
            return None
        try:
            visit = _beneath(page, self._visit(request), rest)
            refused = _refused_method(page, visit)
            begun = page.begin(visit) if refused is None else None
        except Refused as fault:
            refused, begun = fault.answer, None
        if begun is None and refused is not None:
            begun = succeed(refused)
        return None if begun is None else Reception(begun, hold)

    def _ask(self, page: Page, visit: Visit) -> Answer | Deferred[Answer]:
        refused = _refused_method(page, visit)
        if refused is not None:
            return refused
        if isinstance(visit.received, Answer):
            return visit.received
        if isinstance(visit.received, Failure):
            return self._not_taken(page, visit.received)
        if len(visit.body) > page.body_limit:
            return refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {page.body_limit} octets")
        if visit.received is None:
            # In another Twisted site the body has come before we are asked.
            begun = page.begin(visit)
            if begun is not None:
                taken = take_whole(begun, visit.body)
                return taken.addBoth(lambda what: self._ask(page, replace(visit, received=what, body=b"")))
        return page.answer(visit)

    def _not_taken(self, page: Page, failure: Failure) -> Answer:
        answer = page.not_taken(failure)
        if answer is None:
            self._journal.fault("page failed", failure)
        return answer or _WRONG

    def _pass_on(self, request: Any, visit: Visit, path: tuple[bytes, ...]) -> Any:
        """To the resource below."""
        resource = self._below.get(path[0]) if path else None
        if resource is None:
            raise Refused(refusal(HTTPStatus.NOT_FOUND, "there is nothing by this name"))
        taken = len(request.postpath) - len(path) + 1
        request.prepath += request.postpath[:taken]
        del request.postpath[:taken]
        request.setComponent(IVisit, visit)
        return getChildForRequest(resource, request).render(request)  # type: ignore[no-untyped-call]  # upstream

    def _stripped(self, path: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Without the prefix: proxies pass it on, or take it away themselves."""
        length = len(self._prefix)
        return path[length:] if length and path[:length] == self._prefix and len(path) > length else path

    # Who asks.

    def _visit(self, request: Any) -> Visit:
        origin = self._origin(request)
        host = self._host(request, origin)
        content = request.content.read() if request.content is not None else b""
        return Visit(
            origin,
            host,
            f"{'https' if origin.secure else 'http'}://{host}{self._where(request)}",
            request.method.decode("latin-1"),
            _query(request.uri),
            content,
            _fields(request),
        )

    def _where(self, request: Any) -> str:
        """The path of the root as the client sees it."""
        above: Sequence[bytes] = [
            part for part in getattr(request, "prepath", None) or () if part
        ] or self._prefix
        return "".join(f"/{part.decode('latin-1')}" for part in above) + "/"

    def _origin(self, request: Any) -> Origin:
        address = request.getClientAddress()
        peer = Peer.of(getattr(address, "host", None), getattr(address, "port", 0))
        peer = getattr(request, "peer", peer)
        if self._rfc_7239:
            told = forwarded(_joined(request, b"Forwarded"))
        else:
            names = (b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host")
            told = x_forwarded(*(_joined(request, name) for name in names))
        return behind(peer, request.isSecure(), told, self._trusted)

    def _host(self, request: Any, origin: Origin) -> Host:
        given = request.requestHeaders.getRawHeaders(b"Host") or []
        named = getattr(request, "named_host", None)
        # RFC 9112 section 3.2: one Host, and none only in HTTP/1.0.
        if len(given) > 1 or not given and request.clientproto != b"HTTP/1.0":
            raise Refused(refusal(HTTPStatus.BAD_REQUEST, "give one Host"))
        text = origin.host or named or (given[0].decode("latin-1") if given else "localhost")
        try:
            host = parse_host(text)
        except HostFault as fault:
            raise Refused(refusal(HTTPStatus.BAD_REQUEST, str(fault)))
        if host not in self.hosts:
            raise Refused(
                refusal(
                    HTTPStatus.MISDIRECTED_REQUEST, "this server has no such name; http.hosts may name it"
                )
            )
        return host


def _refused_method(page: Page, visit: Visit) -> Answer | None:
    allowed = ", ".join(
        dict.fromkeys((*page.methods, *(("HEAD",) if "GET" in page.methods else ()), "OPTIONS"))
    )
    if visit.method == "OPTIONS":
        return Answer(b"", status=HTTPStatus.NO_CONTENT, headers={"Allow": allowed})
    method = "GET" if visit.method == "HEAD" else visit.method
    if method not in page.methods:
        return refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"this takes {allowed}", Allow=allowed)
    return None


def _segments(path: bytes) -> tuple[bytes, ...]:
    return tuple(path[1:].split(b"/"))


def _beneath(page: Page, visit: Visit, rest: tuple[bytes, ...]) -> Visit:
    return replace(visit, rest=_decoded(rest) if page.utf8 else (), segments=rest)


def _decoded(segments: tuple[bytes, ...]) -> tuple[str, ...]:
    """Twisted has taken the escapes away."""
    try:
        return tuple(segment.decode("utf-8") for segment in segments)
    except UnicodeDecodeError:
        raise Refused(refusal(HTTPStatus.BAD_REQUEST, "the path is not UTF-8")) from None


def _joined(request: Any, name: bytes) -> str:
    lines: list[bytes] = request.requestHeaders.getRawHeaders(name) or []
    return ",".join(line.decode("latin-1") for line in lines)


def _fields(request: Any) -> dict[str, str]:
    found = {}
    for name, lines in request.requestHeaders.getAllRawHeaders():
        lower = name.decode("latin-1").lower()
        # RFC 9113 section 8.2.3: a cookie that came in pieces is one again with these between them.
        found[lower] = ("; " if lower == "cookie" else ",").join(line.decode("latin-1") for line in lines)
    return found


def _query(uri: bytes) -> dict[str, str]:
    text = uri.partition(b"?")[2].decode("latin-1")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=ARGUMENTS, errors="replace")
    except ValueError:
        raise Refused(refusal(HTTPStatus.BAD_REQUEST, f"at most {ARGUMENTS} arguments"))
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


def _write(request: Any, answer: Answer) -> None:
    """Not by Twisted's own way of what `render` gives: it says the length of nothing with a 204 (RFC 9110
    section 8.6 forbids it) and logs each HEAD."""
    request.setResponseCode(answer.status)
    for name, value in answer.headers.items():
        request.setHeader(name, value)
    if answer.status not in _BODYLESS:
        request.setHeader("Content-Type", answer.kind)
    if answer.pieces is not None and request.method != b"HEAD":
        Streaming(request, answer.pieces, _JOURNAL).begin()
        return
    if answer.take is not None and request.method != b"HEAD":
        answer.take(request)
        return
    if answer.status != HTTPStatus.NO_CONTENT and answer.pieces is None and answer.take is None:
        request.setHeader("Content-Length", str(len(answer.body)))
    if answer.pieces is not None:
        eager(answer.pieces.aclose())
    request.write(b"" if request.method == b"HEAD" else answer.body)
    request.finish()


def _write_later(request: Any, answered: Deferred[Answer], journal: Journal) -> None:
    gone: list[object] = []

    def leave(reason: Failure) -> None:
        """Nobody waits for the answer: a page may stop looking for it."""
        gone.append(reason)
        answered.cancel()

    request.notifyFinish().addErrback(leave)

    def failed(failure: Failure) -> Answer:
        if not (gone and failure.check(CancelledError)):  # type: ignore[no-untyped-call]  # untyped upstream
            journal.fault("page failed", failure)
        return _WRONG

    def write(answer: Answer) -> None:
        if not gone:
            _write(request, answer)
        elif answer.pieces is not None:
            eager(answer.pieces.aclose())

    answered.addErrback(failed).addCallback(write)
