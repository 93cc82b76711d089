"""/metrics and /health: who may ask, what they say, and that Prometheus' own tool can read it."""

from __future__ import annotations

import re
import urllib.request
from ipaddress import ip_network

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailftp.settings import HTTP
from mailftp.store.engine import StoreFault
from mailftp.store.memory import MemoryStore
from mailftp.web.exposition import Exposition
from mailftp.web.monitoring import PATIENCE, Health, Metrics, Watched
from mailftp.wire.tally import ByName, Histogram
from tests.interop.running import RunningServer, program, run
from tests.ports import free_ports
from tests.web.site import WebCase

HERE = ("127.0.0.1", 40000)


class MonitoringTests(WebCase):
    def build(self, trusted: tuple[str, ...] = (), **http) -> None:
        super().build(trusted, **http)
        self.clock = Clock()
        self.store = MemoryStore(self.clock.seconds)
        self.successResultOf(self.store.start())
        self.trouble = ""
        watched = Watched(
            self.store,
            self.factory.wiring.limits,
            self.clock,
            self.clock.seconds,
            lambda: {"login": 3, "uploaded_octets": 17},
            lambda: self.trouble,
        )
        self.root.at("/health", Health(self.settings.http.monitoring, watched))
        self.root.at("/metrics", Metrics(self.settings.http.monitoring, watched))

    def test_networks(self) -> None:
        """Loopback by default; others by the setting; a client behind a proxy by its own address."""
        for path in ("/metrics", "/health"):
            self.build()
            for peer, status in ((HERE, 200), (("::1", 1), 200), (("192.0.2.1", 1), 403), (("::2", 1), 403)):
                self.assertEqual(self.ask(path, peer=peer).status, status, peer)
            self.build(monitoring=(ip_network("192.0.2.0/24"),))
            for peer, status in ((HERE, 403), (("192.0.2.7", 1), 200), (("::ffff:192.0.2.7", 1), 200)):
                self.assertEqual(self.ask(path, peer=peer).status, status, peer)
            self.build(trusted=("127.0.0.1/32",))
            said = self.ask(path, "X-Forwarded-For: 198.51.100.1", peer=HERE)
            self.assertEqual((said.status, "http.monitoring" in said.text), (403, True))
        self.assertEqual(HTTP().monitoring, (ip_network("127.0.0.0/8"), ip_network("::1")))

    def test_health(self) -> None:
        """200 and ok; 503 with the reason when the store or the queue does not go on."""
        said = self.ask("/health", peer=HERE)
        self.assertEqual((said.status, said.text), (200, "store: ok\nqueue: ok\n"))
        self.trouble = "it is stopped"
        said = self.ask("/health", peer=HERE)
        self.assertEqual((said.status, said.text), (503, "store: ok\nqueue: it is stopped\n"))
        self.trouble = ""
        self.store.commit = lambda unit: fail(StoreFault("the disk is full"))
        said = self.ask("/health", peer=HERE)
        self.assertEqual((said.status, said.text), (503, "store: the disk is full\nqueue: ok\n"))

    def test_store_that_hangs(self) -> None:
        """A commit that does not end is told after some seconds, and may end later."""
        held: Deferred[int] = Deferred()
        self.store.commit = lambda unit: held
        client = self.connect(peer=HERE)
        self.assertEqual(client.exchange(b"GET /health HTTP/1.1\r\nHost: mx.a.test\r\n\r\n"), b"")
        self.clock.advance(PATIENCE)
        said = client.received()
        self.assertIn(b"HTTP/1.1 503 ", said)
        self.assertIn(b"store: no commit in 5 seconds\n", said)
        held.callback(0)

    def test_metrics(self) -> None:
        """Connections, the queue, FTP's counters and the process; the queue is not counted at each
        question."""
        said = self.ask("/metrics", peer=HERE)
        self.assertEqual(said.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        for line in (
            'mailftp_connections{service="http"} 1',
            'mailftp_connections_total{service="http"} 1',
            'mailftp_queue_recipients{state="waiting"} 0',
            "mailftp_queue_oldest_seconds 0",
            'mailftp_ftp_events_total{what="login"} 3',
            'mailftp_ftp_bytes_total{direction="uploaded"} 17',
        ):
            self.assertIn(line + "\n", said.text)
        self.assertRegex(said.text, r"(?m)^process_resident_memory_bytes [1-9][0-9]{6,}")
        read, asked = self.store.read, []
        self.store.read = lambda query: asked.append(query) or read(query)
        self.ask("/metrics", peer=HERE)
        self.assertEqual(asked, [])
        self.clock.advance(6)
        self.ask("/metrics", peer=HERE)
        self.assertEqual(len(asked), 1)

    def test_without_the_store(self) -> None:
        """The rest is told when the store cannot say."""
        self.store.read = lambda query: fail(StoreFault("gone"))
        said = self.ask("/metrics", peer=HERE)
        self.assertEqual((said.status, "mailftp_queue" in said.text), (200, False))
        self.assertIn("mailftp_connections_total", said.text)


class FormTests(SynchronousTestCase):
    def test_labels(self) -> None:
        """No value of a label ends it or the line."""
        text = Exposition()
        text.gauge("a", "Words.", [({"b": 'x"y\\z\n', "c": "ü"}, 1.5)])
        self.assertEqual(
            text.text.decode(), '# HELP a Words.\n# TYPE a gauge\na{b="x\\"y\\\\z\\n",c="ü"} 1.5\n'
        )

    def test_histogram(self) -> None:
        """Buckets add up; a value on a step belongs to it."""
        histogram = Histogram((0.1, 1.0))
        for seconds in (0.05, 0.1, 0.5, 7.0):
            histogram.observe(seconds)
        text = Exposition()
        text.histogram("t", "Words.", histogram)
        self.assertEqual(
            text.text.decode().splitlines()[2:],
            [
                't_bucket{le="0.1"} 2',
                't_bucket{le="1"} 3',
                't_bucket{le="+Inf"} 4',
                "t_sum 7.65",
                "t_count 4",
            ],
        )

    def test_names_bounded(self) -> None:
        """Destinations beyond the limit are counted together."""
        counts = ByName(2)
        for name in ("a", "b", "c", "d", "a"):
            counts.add(name, "delivered")
        self.assertEqual(
            counts.counts,
            {("a", "delivered"): 2, ("b", "delivered"): 1, (ByName.OTHERS, "delivered"): 2},
        )


class RunningTests(SynchronousTestCase):
    def test_prometheus(self) -> None:
        """A server at work: promtool, of Prometheus, finds nothing to say; the figures are what was done."""
        promtool = program("promtool", "prometheus")
        server = RunningServer(self, "a.test")
        (server.ports["http"],) = free_ports(1)
        server.configure()
        alice = server.add_account("alice", "hungry")
        server.start()
        swaks = program("swaks", "swaks")
        done = run(
            *(swaks, "--server", "127.0.0.1", "--port", str(server.ports["submission"]), "--from", alice),
            *("--to", alice, "--auth", "PLAIN", "--auth-user", alice, "--auth-password", "hungry"),
        )
        self.assertEqual(done.returncode, 0, done.stdout.decode())
        address = f"http://127.0.0.1:{server.ports['http']}"
        with urllib.request.urlopen(f"{address}/metrics", timeout=60) as answer:
            text = answer.read()
        checked = run(promtool, "check", "metrics", input=text)
        self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, b""))
        for line in (
            rb'mailftp_logins_total{service="submission"} 1',
            rb'mailftp_messages_accepted_total{service="submission"} 1',
            rb'mailftp_connections_total{service="submission"} 1',
            rb'mailftp_connections{service="http"} 1',
        ):
            self.assertIn(line + b"\n", text)
        (commits,) = re.findall(rb"^mailftp_store_commit_seconds_count (\d+)$", text, re.MULTILINE)
        self.assertGreater(int(commits), 0)
        with urllib.request.urlopen(f"{address}/health", timeout=60) as answer:
            self.assertEqual((answer.status, answer.read()), (200, b"store: ok\nqueue: ok\n"))
        server.stop()
