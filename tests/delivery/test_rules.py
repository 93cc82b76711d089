"""Which way mail goes, by recipient, sender and attempt: refused, by a plugin, a host, a proxy."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from shutil import which

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface import implementer

from mailftp.delivery.rules import Rules, fits
from mailftp.delivery.transports import SECONDS, IMailTransport, OutgoingMail, Transports
from mailftp.settings import DeliveryRule
from mailftp.smtp.client import Reply
from mailftp.store.records import BodyRef, QueueMessage, QueueRecipient, RecipientState, Transfer
from mailftp.store.units import ActOnQueue, QueueAction
from tests.delivery.house import HouseCase
from tests.ports import free_port


class PatternTests(SynchronousTestCase):
    def test_patterns(self) -> None:
        """Domains and addresses, * for anything, no case; none is all; "<>" is the null sender alone."""
        for patterns, address, fit in (
            ((), "bob@b.test", True),
            ((), "", True),
            (("B.test",), "bob@b.TEST", True),
            (("b.test",), "bob@sub.b.test", False),
            (("*.b.test",), "bob@sub.b.test", True),
            (("*.b.test",), "bob@b.test", False),
            (("Bob@*",), "bob@b.test", True),
            (("bob@b.test", "c.test"), "eve@c.test", True),
            (("*@b.test",), "eve@c.test", False),
            (("[ab].test",), "bob@b.test", True),
            (("<>",), "", True),
            (("<>",), "bob@b.test", False),
            (("*",), "", False),
            (("*",), "bob@b.test", True),
        ):
            self.assertIs(fits(patterns, address), fit, (patterns, address))

    def test_first_that_fits(self) -> None:
        """The first rule whose recipient, sender and attempt fit holds; perhaps none."""
        rules = (
            DeliveryRule(recipients=("b.test",), from_attempt=3),
            DeliveryRule(recipients=("b.test",), senders=("<>",)),
            DeliveryRule(senders=("news@a.test",)),
        )
        found = Rules(rules)

        def of(sender: str, recipient: str, attempt: int) -> int | None:
            message = QueueMessage(1, Transfer(sender, ()), BodyRef(1, 1, False), 0.0, ())
            rule = found.of(message, QueueRecipient(1, recipient, "", RecipientState.WAITING, attempt, 0.0))
            return None if rule is None else rules.index(rule)

        self.assertEqual(of("", "x@b.test", 3), 0)
        self.assertEqual(of("", "x@b.test", 2), 1)
        self.assertEqual(of("news@a.test", "x@b.test", 1), 2)
        self.assertIsNone(of("bob@a.test", "x@b.test", 1))


@implementer(IMailTransport)
class Pager:
    name = "pager"

    def __init__(self, answer=None) -> None:
        self.answer = answer
        self.mails: list[OutgoingMail] = []

    async def deliver(self, mail: OutgoingMail) -> dict[str, Reply]:
        self.mails.append(mail)
        answer = self.answer
        if isinstance(answer, Exception):
            raise answer
        return await answer if isinstance(answer, Deferred) else answer


class RuleTests(HouseCase):
    async def ruled(self, *rules: DeliveryRule, **more) -> None:
        self.other = await self.far()
        await self.house(self.plain(rules=rules, routes={"b.test": f"127.0.0.1:{self.other.port}"}), **more)

    async def test_refused(self) -> None:
        """A refusal goes back to the sender at once, and only those it is for."""
        await self.ruled(
            DeliveryRule(recipients=("eve@b.test",), to="refuse", refusal="550 5.7.1 Not to eve")
        )
        message = await self.settled(await self.submit("eve@b.test", "bob@b.test"))
        self.assertEqual({r.address: r.state.value for r in message.recipients}, {
            "eve@b.test": "failed", "bob@b.test": "delivered",
        })  # fmt: skip
        (bounce,) = await self.inbox()
        self.assertIn(b"Not to eve", bounce)
        self.assertIn(b"Status: 5.7.1", bounce)

    async def test_plugin(self) -> None:
        """A plugin gets the message as it would be sent, and its answers count by recipient."""
        ok, later, no = (
            Reply(250, "2.0.0", "paged"),
            Reply(450, "4.2.1", "off duty"),
            Reply(550, "5.1.1", "who"),
        )
        pager = Pager({"a@b.test": ok, "b@b.test": later, "c@b.test": no, "e@b.test": Reply(354, "", "?")})
        await self.ruled(
            DeliveryRule(recipients=("b.test",), to="plugin:pager"), transports=Transports([pager])
        )
        number = await self.submit(*(f"{name}@b.test" for name in "abcde"))
        message = await self.settled(number)
        self.assertEqual([r.state.value for r in message.recipients], [
            "delivered", "waiting", "failed", "waiting", "waiting",
        ])  # fmt: skip
        (mail,) = pager.mails
        self.assertEqual((mail.id, mail.reverse_path, mail.attempt), (number, "alice@a.test", 1))
        self.assertEqual([path.address for path in mail.recipients][:2], ["a@b.test", "b@b.test"])
        self.assertTrue(mail.message.startswith(b"Received: here\r\nFrom: alice@a.test\r\n"))
        self.assertIn("said nothing", message.recipients[3].last_error)
        self.assertEqual(self.other.taken, [])

    async def test_plugin_fails(self) -> None:
        """A plugin that fails, or never ends, costs an attempt and nothing else."""
        pager = Pager(RuntimeError("a bug"))
        clock = Clock()
        await self.ruled(DeliveryRule(to="plugin:pager"), transports=Transports([pager], clock))
        number = await self.submit("a@b.test")
        message = await self.settled(number)
        self.assertEqual(message.recipients[0].last_error, "an error in pager")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        pager.answer = Deferred()
        await self.store.commit(ActOnQueue(QueueAction.RETRY, (number,)))
        await self.until(lambda: len(pager.mails) == 2, "the second attempt")
        clock.advance(SECONDS)
        message = await self.settled(number, 2)
        self.assertIn("pager did not end within 600 seconds", message.recipients[0].last_error)

    async def test_no_such_plugin(self) -> None:
        """A rule that names no installed plugin is refused when the server is made."""
        with self.assertRaisesRegex(ValueError, "no installed plugin brings the transport pager"):
            await self.ruled(DeliveryRule(to="plugin:pager"), transports=Transports())

    async def test_another_host_after_an_attempt(self) -> None:
        """From its second attempt on mail goes to the host that the rule names."""
        backup = await self.far()
        await self.ruled(DeliveryRule(from_attempt=2, to=f"127.0.0.1:{backup.port}"))
        self.other.behaviour.answers["RCPT"] = "451 4.7.1 later"
        number = await self.submit("bob@b.test")
        await self.settled(number)
        await self.store.commit(ActOnQueue(QueueAction.RETRY, (number,)))
        message = await self.settled(number, 2)
        self.assertEqual(message.recipients[0].state.value, "delivered")
        self.assertEqual((len(self.other.sessions), len(backup.taken)), (1, 1))

    async def test_source(self) -> None:
        """The far side sees the address that the rule says."""
        far = await self.far()
        await self.ruled(DeliveryRule(to=f"127.0.0.1:{far.port}", source=("127.0.0.9",)))
        await self.settled(await self.submit("bob@b.test"))
        self.assertEqual(far.peers, ["127.0.0.9"])

    async def test_through_a_proxy(self) -> None:
        """Through microsocks, with a login, mail arrives from where the proxy is."""
        if which("microsocks") is None:
            raise SkipTest("needs Debian's microsocks")
        port = free_port()
        proxy = subprocess.Popen(
            [
                "microsocks",
                "-i",
                "127.0.0.1",
                "-p",
                str(port),
                "-b",
                "127.0.0.5",
                "-u",
                "bob",
                "-P",
                "secret",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(proxy.wait)
        self.addCleanup(proxy.kill)
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", port), 5).close()
                break
            except OSError:
                await deferLater(reactor, 0.02)
        login = self.mktemp()
        with open(login, "w") as file:
            file.write("bob:secret\n")
        far = await self.far()
        await self.ruled(
            DeliveryRule(to=f"127.0.0.1:{far.port}", socks=f"127.0.0.1:{port}", socks_login_file=Path(login))
        )
        message = await self.settled(await self.submit("bob@b.test"))
        self.assertEqual(message.recipients[0].state.value, "delivered")
        (taken,) = far.taken
        self.assertIn(b"Body.", taken.message)
        self.assertEqual(far.peers, ["127.0.0.5"])

    async def test_no_proxy(self) -> None:
        """A proxy that does not answer leaves the mail waiting, and says that it is the proxy."""
        await self.ruled(DeliveryRule(to="127.0.0.1:2525", socks=f"127.0.0.1:{free_port()}"))
        message = await self.settled(await self.submit("bob@b.test"))
        self.assertEqual(message.recipients[0].state.value, "waiting")
        self.assertIn("refused", message.recipients[0].last_error)
