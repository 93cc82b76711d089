"""What leaves is signed: checked by dkimpy over the octets that a far side got."""

from __future__ import annotations

from pathlib import Path

import dkim as dkimpy
from twisted.internet.defer import Deferred

from mailftp.delivery import signing
from mailftp.delivery.signing import Signer
from mailftp.message.address import parse_address
from mailftp.origin.dkim_folder import key_records, make_key
from mailftp.origin.findings import Finding, results_field
from tests.delivery.house import MESSAGE, HouseCase
from tests.origin.test_opendkim import verdict
from tests.smtp.far_side import FarSide

LARGE = b"From: alice@a.test\r\nSubject: large\r\n\r\n" + b"A line of text, and blanks  \r\n\r\n" * 10_000


class SigningTests(HouseCase):
    async def begin(self, *algorithms: str, **more: object) -> FarSide:
        self.data = Path(self.mktemp()).absolute()
        domain = self.data / "dkim" / "a.test"
        domain.mkdir(parents=True)
        for algorithm in algorithms or ("rsa", "ed25519"):
            make_key(domain / f"{algorithm}.pem", algorithm)
        self.records = {
            f"{selector}._domainkey.a.test.".encode(): record.encode()
            for selector, record in key_records(domain).items()
        }
        return await self.routed(**more)

    async def sent(self, far: FarSide, count: int = 1) -> list[bytes]:
        await self.until(lambda: len(far.taken) >= count, "the message")
        return [taken.message for taken in far.taken]

    def signatures(self, message: bytes) -> list[bool]:
        """What dkimpy finds of each signature."""
        checked = dkimpy.DKIM(message)
        count = message.partition(b"\r\n\r\n")[0].lower().count(b"dkim-signature:")

        def look_up(name: bytes, **_: object) -> bytes:
            return self.records[name]

        found = []
        for index in range(count):
            try:
                found.append(checked.verify(idx=index, dnsfunc=look_up))
            except dkimpy.ValidationError:
                found.append(False)
        return found

    async def test_both_algorithms(self) -> None:
        """Over what leaves: with the Received field that we put on top."""
        far = await self.begin()
        await self.submit("bob@b.test", account_id=self.alice.id)
        (message,) = await self.sent(far)
        self.assertEqual(self.signatures(message), [True, True])
        self.assertTrue(message.endswith(b"Received: here\r\n" + MESSAGE))
        self.assertEqual(self.signatures(message.replace(b"Body.", b"Bodies.")), [False, False])

    async def test_opendkim(self) -> None:
        """OpenDKIM says the same of what the far side got."""
        far = await self.begin("rsa")
        await self.submit("bob@b.test", account_id=self.alice.id)
        (message,) = await self.sent(far)
        ((name, record),) = self.records.items()
        said = verdict(message, name.decode().removesuffix("."), record.decode())
        self.assertIn("2048-bit key) succeeded", said)

    async def test_large(self) -> None:
        """In a file, dots stuffed on the way."""
        far = await self.begin()
        text = LARGE + b".\r\n..two\r\nlast line without its end"
        await self.submit("bob@b.test", account_id=self.alice.id, message=text)
        (message,) = await self.sent(far)
        self.assertEqual(self.signatures(message), [True, True])
        self.assertTrue(message.endswith(text + b"\r\n"))

    async def test_only_what_is_ours(self) -> None:
        """Mail of a stranger that is sent on is not, whoever it says it is from; nor is an account's mail
        under an address elsewhere."""
        far = await self.begin()
        await self.submit("bob@b.test", sender="z@far.test")
        await self.submit("bob@b.test", sender="SRS0=x=y=far.test=z@a.test", return_to="z@far.test")
        await self.submit("bob@b.test", sender="alice@elsewhere.test", account_id=self.alice.id)
        await self.submit("bob@b.test", sender="", account_id=self.alice.id)
        for message in await self.sent(far, 4):
            self.assertNotIn(b"DKIM-Signature", message)

    async def test_sent_on_by_an_account(self) -> None:
        """Behind an alias the author's domain signs, and not that of the alias."""
        far = await self.begin()
        sender = "SRS0=x=y=a.test=alice@other.test"
        await self.submit("bob@b.test", sender=sender, return_to="alice@a.test", account_id=self.alice.id)
        (message,) = await self.sent(far)
        self.assertEqual(self.signatures(message), [True, True])

    async def test_reports(self) -> None:
        """A bounce of ours is signed by the domain that it is from."""
        far = await self.begin("rsa")
        report = await self.intake.report(
            parse_address("z@b.test"), b"From: MAILER-DAEMON@a.test\r\nSubject: no\r\n\r\nIt failed.\r\n"
        )
        await self.store.commit(report)
        (message,) = await self.sent(far)
        self.assertEqual(self.signatures(message), [True])

    async def test_without_keys(self) -> None:
        far = await self.begin()
        for file in (self.data / "dkim" / "a.test").iterdir():
            file.unlink()
        await self.submit("bob@b.test", account_id=self.alice.id)
        (message,) = await self.sent(far)
        self.assertEqual(message, b"Received: here\r\n" + MESSAGE)

    async def test_a_key_that_cannot_be_read(self) -> None:
        """The message goes, and the log says that it is not signed."""
        far = await self.begin()
        (self.data / "dkim" / "a.test" / "rsa.pem").write_bytes(b"rubbish")
        await self.submit("bob@b.test", account_id=self.alice.id)
        (message,) = await self.sent(far)
        self.assertNotIn(b"DKIM-Signature", message)

    async def test_once_for_all_domains(self) -> None:
        """However many destinations, a message is signed once."""
        self.calls = 0
        made = Signer._sign

        def counting(*arguments: object) -> bytes:
            self.calls += 1
            return made(*arguments)  # type: ignore[arg-type]  # as they came

        self.patch(Signer, "_sign", counting)
        far = await self.begin("ed25519")
        await self.stopped()
        target = f"127.0.0.1:{far.port}"
        await self.house(self.plain(routes={f"d{n}.test": target for n in range(20)}))
        await self.submit(*(f"bob@d{n}.test" for n in range(20)), account_id=self.alice.id)
        messages = await self.sent(far, 20)
        self.assertEqual(len({message[:200] for message in messages}), 1)
        self.assertEqual(self.calls, 1)

    async def test_given_up(self) -> None:
        """Stopped while it is signed, a message is due again; what is read meanwhile is our own."""
        held: Deferred[bytes] = Deferred()
        self.patch(signing, "deferToThreadPool", lambda *_: held)
        far = await self.begin("ed25519")
        number = await self.submit("bob@b.test", account_id=self.alice.id)
        await self.until(lambda: bool(self.service._means.signer._waiting), "the signing")
        await self.stopped()
        held.callback(b"")
        self.assertEqual(await self.states(number), {"bob@b.test": "waiting"})
        self.assertEqual(far.taken, [])


class ForgedSenderTests(HouseCase):
    async def test_no_bounce(self) -> None:
        """Who was forged, as DMARC says, does not hear of what he never wrote; others do."""
        await self.house()
        told = 0
        for result, bounces in (("fail", 0), ("pass", 1)):
            prefix = results_field("mx.a.test", (Finding("dmarc", result),))
            number = await self.submit("nobody@nowhere.test", sender="alice@a.test", prefix=prefix)
            await self.settled(number)
            told += bounces
            self.assertEqual(len(await self.inbox()), told)
