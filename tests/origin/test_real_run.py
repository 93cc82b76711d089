"""A whole server, a real DNS server and other people's programs: mail from strangers is checked."""

from __future__ import annotations

import poplib
import smtplib
import socket
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailftp.accounts.passwords import make_verifier
from mailftp.app import make_server
from mailftp.origin.findings import read_results
from mailftp.settings import DNS, FTP, Argon2, Auth, OriginSettings, Settings, StrangerSettings
from mailftp.store.units import AddAccount
from tests.dns.dnsmasq import Dnsmasq
from tests.interop.running import RunningServer
from tests.origin.test_dkim import ED25519, MESSAGE, RSA, record, signed_by_dkimpy

#: Where strangers call from: loopback has 16 million addresses, and each is one of its own.
FRIEND, FORGER = "127.0.0.3", "127.0.0.4"
CHEAP = Argon2(time_cost=1, memory_cost=8, parallelism=1)


def send(port: int, source: str, message: bytes) -> str:
    with smtplib.SMTP("127.0.0.1", port, "mx.e.test", 60, (source, 0)) as client:
        try:
            client.sendmail("a@e.test", ["bob@example.test"], message)
        except smtplib.SMTPDataError as refused:
            return f"{refused.smtp_code} {refused.smtp_error.decode()}"
        except smtplib.SMTPRecipientsRefused as refused:
            ((code, text),) = refused.recipients.values()
            return f"{code} {text.decode()}"
        return "250"


def speak_early(port: int) -> bytes:
    """What is said to a client, from an address of its own, that sends its mail without listening."""
    with socket.create_connection(("127.0.0.1", port), 60, ("127.0.0.5", 0)) as client:
        client.sendall(b"EHLO junk.test\r\nMAIL FROM:<a@e.test>\r\n")
        return client.makefile("rb").read()


def read(port: int) -> list[bytes]:
    client = poplib.POP3("127.0.0.1", port, 60)
    client.user("bob@example.test")
    client.pass_("hungry")
    messages = [b"\r\n".join([*client.retr(n + 1)[1], b""]) for n in range(client.stat()[0])]
    client.quit()
    return messages


class RealRunTests(TestCase):
    timeout = 120

    strangers = StrangerSettings()

    async def setUp(self) -> None:
        text = record(RSA)
        dns = await Dnsmasq.start(
            "--txt-record=e.test,v=spf1 ip4:127.0.0.3 -all",
            "--txt-record=_dmarc.e.test,v=DMARC1; p=reject",
            f"--txt-record=sel._domainkey.e.test,{text[:200]},{text[200:]}",
            f"--txt-record=ed._domainkey.e.test,{record(ED25519)}",
            "--ptr-record=3.0.0.127.in-addr.arpa,mx.e.test",
            "--ptr-record=4.0.0.127.in-addr.arpa,mx.e.test",
            "--host-record=mx.e.test,127.0.0.3",
            "--host-record=4.0.0.127.bl.test,127.0.0.2",
            "--txt-record=4.0.0.127.bl.test,It sends junk",
            "--local=/bl.test/",
        )
        self.addCleanup(dns.stop)
        folder = Path(self.mktemp()).absolute()
        settings = Settings(
            folder,
            folder / "data",
            listen=dict.fromkeys(("smtp", "pop3"), ("tcp:0:interface=127.0.0.1",)),
            auth=Auth(failure_delay=0.0, argon2=CHEAP),
            dns=DNS(servers=(dns.address,)),
            ftp=FTP(root=folder / "data" / "files"),
            origin=OriginSettings(),
            strangers=self.strangers,
        )
        self.server = make_server(settings, reactor)
        self.server.privilegedStartService()
        self.server.startService()
        self.addCleanup(self.server.stopService)
        await self.server.started
        await self.server._base.store.commit(AddAccount("bob@example.test", make_verifier("hungry", CHEAP)))

    def port(self, service: str) -> int:
        (door,) = (door for door in self.server.doors if door.service == service)
        address: Any = door.addresses[0]
        return int(address.port)

    async def send(self, source: str, message: bytes) -> str:
        return await deferToThread(partial(send, self.port("smtp"), source, message))

    async def test_strangers(self) -> None:
        """dkimpy signs, both algorithms; dnsmasq answers; smtplib sends and poplib reads."""
        signed = signed_by_dkimpy(RSA, b"relaxed/simple")
        self.assertEqual(await self.send(FRIEND, signed), "250")
        self.assertEqual(await self.send(FORGER, signed), "250")
        changed = signed.replace(b"Hello", b"Hallo")
        refused = "550 5.7.1 The DMARC policy of e.test refuses this message"
        self.assertEqual(await self.send(FORGER, changed), refused)
        self.assertEqual(await self.send(FRIEND, changed), "250")
        both = signed_by_dkimpy(ED25519, b"simple/relaxed", selector=b"ed").removesuffix(MESSAGE) + signed
        self.assertEqual(await self.send(FORGER, both), "250")
        found = [
            read_results(message, "mx.example.test")
            for message in await deferToThread(partial(read, self.port("pop3")))
        ]
        good = {"iprev": "pass", "spf": "pass", "dkim": "pass", "dmarc": "pass"}
        relayed = {**good, "iprev": "fail", "spf": "fail"}
        self.assertEqual(found, [good, relayed, {**good, "dkim": "fail"}, relayed])


class RefusalTests(RealRunTests):
    strangers = StrangerSettings(dnsbl=("bl.test",), greylist=1.0)

    async def test_strangers(self) -> None:
        """Who is listed is told by whom; who is new comes again until it is taken; who does not wait for the
        greeting is sent away."""
        signed = signed_by_dkimpy(RSA, b"relaxed/simple")
        self.assertEqual(
            await self.send(FORGER, signed), "550 5.7.1 127.0.0.4 is listed by bl.test: It sends junk"
        )
        self.assertEqual(
            await self.send(FRIEND, signed), "451 4.7.1 You are new here, try again in 1 seconds"
        )
        for _ in range(60):
            if (said := await self.send(FRIEND, signed)) == "250":
                break
            self.assertEqual(said[:9], "451 4.7.1")
            await deferLater(reactor, 0.5)
        self.assertEqual(said, "250")
        self.assertEqual(await self.send(FRIEND, signed), "250")
        self.assertTrue((self.server.settings.data / "greylist.sqlite").exists())
        early = await deferToThread(partial(speak_early, self.port("smtp")))
        self.assertEqual(early, b"554 5.5.1 You spoke before you were greeted\r\n")


class Answering(RunningServer):
    """One that answers for its zone too."""

    services = ("smtp", "submission", "pop3", "dns")


class TwoServersTests(SynchronousTestCase):
    def test_signed_here_checked_there(self) -> None:
        """A signs with keys that were rotated while it ran, and answers for its own zone; B asks there and
        finds everything in order."""
        a, b = Answering(self, "a.test"), Answering(self, "b.test")
        a.configure(
            f'[dns]\nzones = ["a.test"]\naddresses = ["127.0.0.1"]\n'
            f'[delivery.routes]\n"b.test" = "127.0.0.1:{b.ports["smtp"]}"\n'
        )
        b.configure(
            f'[dns]\nservers = ["127.0.0.1:{a.ports["dns"]}"]\n[origin]\ntrusted = []\n'
            "[strangers]\ngreeting_delay = 0\n"
        )
        alice, bob = a.add_account("alice", "wonder land"), b.add_account("bob", "hungry")
        a.start()
        b.start()
        done = a.cli("dkim", "rotate", "a.test", "--wait", "0")
        self.assertEqual(done.returncode, 0, done.stderr)
        selectors = {line.split(b".")[0] for line in done.stdout.splitlines()}
        with smtplib.SMTP("127.0.0.1", a.ports["submission"], timeout=60) as client:
            client.login(alice, "wonder land")
            client.sendmail(alice, [bob], f"From: {alice}\r\nSubject: signed\r\n\r\nHello.\r\n")
        line = b.wait_for("accepted")
        self.assertIn("spf=pass dkim=pass dkim=pass dmarc=pass", line["checks"])
        client = poplib.POP3("127.0.0.1", b.ports["pop3"], timeout=60)
        client.user(bob)
        client.pass_("hungry")
        header = b"\n".join(client.top(1, 0)[1])
        client.quit()
        self.assertEqual(header.count(b"DKIM-Signature:"), 2)
        for selector in selectors:
            self.assertIn(b"s=" + selector + b";", header)
            self.assertIn(b"header.s=" + selector, header)
