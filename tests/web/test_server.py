"""The web server: requests, limits, clocks, and what strangers try."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from mailftp.web import server
from mailftp.web.furnishing import make_root
from mailftp.web.pages import Answer, IVisit, Page, Visit
from mailftp.wire.limits import ConnectionLimits
from mailftp.wire.proxy import ProxyFactory
from tests.certificates import service
from tests.connector import advance, connect, wiring
from tests.web.site import WebCase, networks, responses, web_settings

HOST = b"Host: mx.a.test\r\n"
POLICY = "/.well-known/mta-sts.txt"


class Echo(Page):
    """Answers with what it was asked."""

    methods = ("GET", "POST")
    body_limit = 2000

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self.waiting: list[Deferred[Answer]] = []
        self.wait = False

    def answer(self, visit: Visit) -> Any:
        self.visits.append(visit)
        if self.wait:
            self.waiting.append(Deferred())
            return self.waiting[-1]
        return Answer(visit.body or b"nothing")


class EchoCase(WebCase):
    def build(self, *arguments: Any, **more: Any) -> None:
        super().build(*arguments, **more)
        self.echo = Echo()
        self.root.at("/echo", self.echo)

    @property
    def visit(self) -> Visit:
        return self.echo.visits[-1]


class Requests(EchoCase):
    def test_persistent(self) -> None:
        """Requests that come at once are answered in their order, cut at any octet; close closes."""
        whole = (
            b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\none"
            b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n"
            b"POST /echo HTTP/1.1\r\n"
            + HOST
            + b"Transfer-Encoding: chunked\r\n\r\n2\r\nth\r\n3\r\nree\r\n0\r\n\r\n"
            b"GET /echo HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
        )
        for cut in range(0, len(whole), 7):
            client = self.connect()
            said = client.exchange(whole[:cut]) + client.exchange(whole[cut:])
            bodies = [response.body for response in responses(said)]
            self.assertEqual(bodies, [b"one", b"nothing", b"three", b"nothing"], cut)
            self.assertTrue(client.closed)

    def test_methods(self) -> None:
        """HEAD has the length and no body, OPTIONS and 405 say what is taken."""
        head = self.ask("/echo", method="HEAD")
        self.assertEqual((head.status, head.headers["Content-Length"], head.body), (200, "7", b""))
        options = self.ask("/echo", method="OPTIONS")
        self.assertEqual((options.status, options.headers["Content-Length"]), (204, None))
        self.assertEqual(options.headers["Allow"], "GET, POST, HEAD, OPTIONS")
        for method in ("PUT", "TRACE", "BREW"):
            self.assertEqual(self.ask("/echo", method=method).status, 405, method)
        self.assertEqual(self.ask("mx.a.test:443", method="CONNECT").status, 400)
        self.assertEqual(self.ask("*", method="OPTIONS").status, 400)

    def test_headers(self) -> None:
        """Every answer has the headers that protect a browser, and none says what software this is."""
        for target in ("/echo", "/nothing", "/autodiscover/autodiscover.xml"):
            headers = self.ask(target).headers
            self.assertIn("frame-ancestors 'none'", headers["Content-Security-Policy"])
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
            self.assertIsNone(headers["Server"])
            self.assertIsNone(headers["Strict-Transport-Security"])
            self.assertNotIn("twisted", headers.as_string().lower())

    def test_later(self) -> None:
        """A page may answer later; the clocks stand still until it does, and a client may go meanwhile."""
        self.echo.wait = True
        client = self.connect()
        client.send(b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n")
        advance(self.factory, 300)
        self.assertEqual((client.received(), client.closed), (b"", False))
        self.echo.waiting.pop().callback(Answer(b"late"))
        [response] = responses(client.received())
        self.assertEqual(response.body, b"late")
        client.send(b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n")
        client.drop()
        self.echo.waiting.pop().callback(Answer(b"to nobody"))

    def test_page_fails(self) -> None:
        """500, without a word of why, at once and later; the log has the traceback."""
        self.echo.wait = True
        client = self.connect()
        client.send(b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n")
        self.echo.waiting.pop().errback(ZeroDivisionError("secret"))
        said = client.received()
        self.echo.answer = lambda visit: 1 / 0  # type: ignore[method-assign]
        said += client.exchange(b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n")
        self.assertEqual([response.status for response in responses(said)], [500, 500])
        self.assertNotIn(b"ZeroDivision", said)
        self.assertNotIn(b"secret", said)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_half_closed(self) -> None:
        """A client that has said all it will say is answered, and then closed."""
        self.echo.wait = True
        client = self.connect()
        client.send(b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n")
        client.end()
        self.assertFalse(client.closed)
        self.echo.waiting.pop().callback(Answer(b"late"))
        self.assertTrue(client.received().endswith(b"late"))
        self.assertTrue(client.closed)

    def test_stopping(self) -> None:
        """Who waits for a request is closed, who waits for an answer gets it first."""
        self.echo.wait = True
        idle, busy = self.connect(), self.connect()
        busy.send(b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n")
        self.factory.drain(10)
        idle.pump()
        self.assertEqual((idle.closed, busy.closed), (True, False))
        self.echo.waiting.pop().callback(Answer(b"late"))
        self.assertTrue(busy.received().endswith(b"late"))
        self.assertTrue(busy.closed)

    def test_too_many(self) -> None:
        """One connection too many from an address is told so."""
        limits = ConnectionLimits(10, 1)
        self.factory = server.HTTPFactory(wiring("http", settings=self.settings, limits=limits), self.root)
        self.connect()
        second = self.connect()
        [response] = responses(second.received())
        self.assertEqual((response.status, second.closed), (503, True))

    def test_tls(self) -> None:
        """Over TLS by ALPN http/1.1 alone; browsers are told to stay with it."""
        tls = service(self.mktemp(), "https")
        self.factory = server.HTTPFactory(
            wiring("https", "http", settings=self.settings, tls=tls, implicit_tls=True), self.root
        )
        client = self.connect(alpn=[b"h2", b"http/1.1"])
        assert client.ssl is not None
        self.assertEqual(client.ssl.get_alpn_proto_negotiated(), b"http/1.1")
        [response] = responses(client.exchange(b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n"))
        self.assertIn("max-age=", response.headers["Strict-Transport-Security"])
        self.assertTrue(self.visit.origin.secure)
        self.assertEqual(self.visit.base, "https://mx.a.test/")
        self.assertRaises((SSL.Error, ConnectionError), self.connect, alpn=[b"smtp"])


class Limits(EchoCase):
    def test_slow_header(self) -> None:
        """An octet now and then does not hold a connection (slow loris)."""
        client = self.connect()
        for octet in b"GET /echo HTTP/1.1\r\nX: " + b"y" * 100:
            client.send(bytes((octet,)))
            advance(self.factory, 1)
            if client.protocol.refusing:
                break
        [response] = responses(client.received())
        self.assertEqual(response.status, 408)
        advance(self.factory, server.DROP_SECONDS + 1)
        client.pump()
        self.assertTrue(client.closed)
        self.assertEqual(self.echo.visits, [])

    def test_slow_body(self) -> None:
        """Nor does a body that drips, however long it is to be."""
        client = self.connect()
        client.send(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 2000\r\n\r\n")
        for _ in range(int(server.BODY_SECONDS) + 3):
            client.send(b"x")
            advance(self.factory, 1)
        [response] = responses(client.received())
        self.assertEqual(response.status, 408)

    def test_silent(self) -> None:
        """Who says nothing is closed without a word: before the first request, and after one."""
        silent = self.connect()
        advance(self.factory, server.HEADER_SECONDS + 1)
        self.assertEqual((silent.received(), silent.closed), (b"", True))
        client = self.connect()
        client.exchange(b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n")
        advance(self.factory, self.settings.limits.idle_timeout["http"] - 2)
        self.assertFalse(client.closed)
        advance(self.factory, 4)
        self.assertEqual((client.received(), client.closed), (b"", True))

    def test_large_headers(self) -> None:
        """Long lines, many lines, one line without end: 431, and nothing is asked of a page."""
        start = b"GET /echo HTTP/1.1\r\n" + HOST
        for header in (
            start + b"X: " + b"y" * server.HEADER + b"\r\n\r\n",
            start + b"X: y\r\n" * (server.FIELDS + 5) + b"\r\n",
            start + b"X: " + b"y" * 8000 + b"\r\nX: " + b"y" * 9000 + b"\r\n\r\n",
            b"GET /" + b"a" * (2 * server.HEADER),
        ):
            client = self.connect()
            [response] = responses(client.exchange(header))
            self.assertEqual(response.status, 431, header[:50])
        self.assertEqual(self.echo.visits, [])

    def test_large_bodies(self) -> None:
        """413 by what is said before it comes, or by what comes in chunks; the client may go on sending for a
        moment, and hears it all the same."""
        client = self.connect()
        head = b"POST /echo HTTP/1.1\r\n" + HOST
        said = client.exchange(head + b"Expect: 100-continue\r\nContent-Length: 2001\r\n\r\n")
        [response] = responses(said)
        self.assertEqual(response.status, 413)
        client.send(b"x" * 500)
        self.assertFalse(client.closed)
        client.send(b"x" * (server.DROPPED + 1))
        self.assertTrue(client.closed)
        client = self.connect()
        chunks = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
        [response] = responses(client.exchange(head + b"Transfer-Encoding: chunked\r\n\r\n" + 9 * chunks))
        self.assertEqual(response.status, 413)
        self.assertEqual(self.echo.visits, [])
        self.assertEqual(self.ask("/echo", method="POST", body=b"x" * 2000).status, 200)

    def test_bombs(self) -> None:
        """A length beyond all bounds is a number and no allocation."""
        client = self.connect()
        length = b"Content-Length: 99999999999999999999\r\n\r\n"
        [response] = responses(client.exchange(b"POST /echo HTTP/1.1\r\n" + HOST + length))
        self.assertEqual(response.status, 413)

    def test_many_at_once(self) -> None:
        """Requests behind one that is worked on are not read without end."""
        self.echo.wait = True
        client = self.connect()
        client.send((b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n") * 5000)
        self.assertEqual(len(self.echo.waiting), 1)
        self.assertFalse(client.transport.reading)


class Hostile(EchoCase):
    def test_smuggling(self) -> None:
        """What two parsers could read in two ways is refused, and what follows it is no request."""
        head = b"POST /echo HTTP/1.1\r\n" + HOST
        behind = b"GET /echo?smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
        for fields in (
            b"Content-Length: 1\r\nContent-Length: 2\r\n",
            b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: xchunked\r\n",
            b"Content-Length: +3\r\n",
            b"Content-Length: 3 3\r\n",
            b"Content Length: 3\r\n",
            b"X\x00: y\r\n",
            b"X: a\rb\r\n",
            b"no colon\r\n",
        ):
            client = self.connect()
            said = client.exchange(head + fields + b"X-More: y\r\n\r\n" + behind)
            [response] = responses(said)
            self.assertEqual(response.status, 400, fields)
        self.assertEqual(self.echo.visits, [])

    def test_hosts(self) -> None:
        """One Host that is ours; HTTP/1.0 needs none; the target's own holds where it has one."""
        for host, status in (
            ("mx.a.test", 200),
            ("MX.A.TEST.:8080", 200),
            ("mta-sts.b.test", 200),
            ("127.0.0.1:2080", 200),
            ("[::1]", 200),
            ("evil.test", 421),
            ("a.test.evil.test", 421),
            ("mx.a.test@evil.test", 400),
            ("mx.a.test/../", 400),
            ("mx.a.test:99999", 400),
            ("[127.0.0.1]", 400),
            ("", 400),
        ):
            self.assertEqual(self.ask("/echo", host=host).status, status, host)
        self.assertEqual(self.ask("/echo", host=None).status, 400)
        self.assertEqual(self.ask("/echo", "Host: mx.a.test").status, 400)
        client = self.connect()
        [response] = responses(client.exchange(b"GET /echo HTTP/1.0\r\n\r\n"))
        self.assertEqual((response.status, client.closed), (200, True))
        self.assertEqual(self.ask("http://evil.test/echo").status, 421)
        self.assertEqual(self.ask("http://b.test/echo", host="evil.test").status, 200)
        self.build(hosts=("mail.elsewhere.test",))
        self.assertEqual(self.ask("/echo", host="mail.elsewhere.test").status, 200)

    def test_traversal(self) -> None:
        """A path is looked up as it is: there is nothing to climb out of."""
        for target in (
            "/../../etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/..%2f..%2fetc%2fpasswd",
            "/echo/..",
            "//echo",
            "/echo%00",
            "/.well-known/../echo",
        ):
            self.assertEqual(self.ask(target).status, 404, target)
        self.assertEqual(self.echo.visits, [])

    def test_many_arguments(self) -> None:
        """A hundred arguments are read, and no more."""
        self.assertEqual(self.ask("/echo?" + "a&" * 90).status, 200)
        self.assertEqual(self.ask("/echo?" + "a&" * 150).status, 400)


class Proxies(EchoCase):
    def told(self, *headers: str, **more: Any) -> tuple[str, bool, str, bool]:
        """(client, secure, base, whether it counts as this machine) as the page sees them."""
        self.assertEqual(self.ask("/echo", *headers, **more).status, 200)
        origin = self.visit.origin
        return str(origin.peer.address), origin.secure, self.visit.base, origin.peer.local

    def test_strangers(self) -> None:
        """Nobody's word is taken but a trusted proxy's; that somebody speaks for another is noted."""
        headers = ("X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.test")
        self.assertEqual(self.told(*headers)[:3], ("192.0.2.1", False, "http://mx.a.test/"))
        self.assertTrue(self.visit.origin.unknown)

    def test_trusted(self) -> None:
        """The last address that is no proxy of ours; what the client wrote before it does not count."""
        self.build(("192.0.2.0/24",))
        for given, client in (
            ("198.51.100.9", "198.51.100.9"),
            ("127.0.0.1, 198.51.100.9", "198.51.100.9"),
            ("198.51.100.9, 192.0.2.77", "198.51.100.9"),
            ("198.51.100.9:4711", "198.51.100.9"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("::ffff:198.51.100.9", "198.51.100.9"),
            ("127.0.0.1, nonsense", "192.0.2.1"),
            ("192.0.2.5, 192.0.2.6", "192.0.2.5"),
        ):
            told = self.told(f"X-Forwarded-For: {given}", "X-Forwarded-Proto: https")
            self.assertEqual(told, (client, True, "https://mx.a.test/", False), given)
        # A client on this machine, by way of a proxy, is not taken for one that came itself.
        self.assertEqual(
            self.told("X-Forwarded-For: 127.0.0.1"), ("127.0.0.1", False, "http://mx.a.test/", False)
        )
        self.assertEqual(self.told("X-Forwarded-Host: b.test")[2], "http://b.test/")
        self.assertEqual(self.ask("/echo", "X-Forwarded-Host: evil.test").status, 421)

    def test_one_kind(self) -> None:
        """The header of the other kind is the client's own invention."""
        self.build(("192.0.2.0/24",))
        self.assertEqual(self.told("Forwarded: for=198.51.100.9")[0], "192.0.2.1")
        self.build(("192.0.2.0/24",), forwarded="forwarded")
        self.assertEqual(self.told("X-Forwarded-For: 198.51.100.9")[0], "192.0.2.1")
        for given, client in (
            ("for=198.51.100.9;proto=https", "198.51.100.9"),
            ('for=127.0.0.1, For="[2001:db8::1]:4711" ; Proto=https', "2001:db8::1"),
            ("for=127.0.0.1, for=_hidden;proto=https", "192.0.2.1"),
        ):
            self.assertEqual(self.told(f"Forwarded: {given}")[:2], (client, True), given)
        self.assertEqual(self.told('Forwarded: for="broken')[0], "192.0.2.1")

    def test_prefix(self) -> None:
        """Behind a proxy that passes the prefix on, and behind one that takes it away."""
        self.build(prefix="/mail/server/")
        for target in ("/mail/server/echo", "/echo"):
            self.assertEqual(self.told(target and "X: y")[2], "http://mx.a.test/mail/server/")
            self.assertEqual(self.ask(target).status, 200, target)
        self.assertEqual(self.ask("/mail/echo").status, 404)

    def test_proxy_protocol(self) -> None:
        """A trusted proxy may begin with a PROXY header, or speak HTTP at once; a broken one is the end."""
        clock = self.factory.wiring.clock
        outer = ProxyFactory(self.factory, networks("192.0.2.0/24"), clock, required=False)
        request = b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n"
        for header, client in (
            (b"PROXY TCP4 198.51.100.9 192.0.2.2 1 2\r\n", "198.51.100.9"),
            (b"", "192.0.2.1"),
        ):
            connected = connect(outer, clock=clock)
            [response] = responses(connected.exchange(header + request))
            self.assertEqual(response.status, 200)
            self.assertEqual(str(self.visit.origin.peer.address), client)
            self.assertFalse(self.visit.origin.peer.local)
        connected = connect(outer, clock=clock)
        self.assertEqual(connected.exchange(b"PROXY nonsense\r\n" + request), b"")
        self.assertTrue(connected.closed)


class Below(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        visit = IVisit(request)
        return f"{visit.host} {request.prepath} {request.postpath}".encode()


class Elsewhere(WebCase):
    def test_resource_below(self) -> None:
        """A Twisted resource takes all below a name, and can ask who visits."""
        self.root.below("jmap", Below())
        response = self.ask("/jmap/a/b")
        self.assertEqual(response.text, "mx.a.test [b'jmap'] [b'a', b'b']")
        self.assertEqual(response.headers["X-Frame-Options"], "DENY")

    def test_resource_fails(self) -> None:
        """One that raises is a 500 without its reasons."""

        class Broken(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                raise ZeroDivisionError("secret")

        self.root.below("broken", Broken())
        response = self.ask("/broken")
        self.assertEqual(response.status, 500)
        self.assertNotIn("secret", response.text)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class InAnotherSite(SynchronousTestCase):
    def test_child(self) -> None:
        """As a child of somebody's site, served by Twisted's own server."""
        top = Resource()
        root = make_root(web_settings())
        echo = Echo()
        root.at("/echo", echo)
        top.putChild(b"mail", root)
        channel = Site(top, reactor=Clock()).buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(
            b"GET /mail/echo HTTP/1.1\r\nHost: mx.a.test\r\n\r\n"
            b"GET /mail/.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.a.test\r\n\r\n"
        )
        self.assertEqual([response.status for response in responses(transport.value())], [200, 200])
        self.assertEqual(echo.visits[0].base, "http://mx.a.test/mail/")
