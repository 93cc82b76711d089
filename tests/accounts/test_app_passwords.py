"""App passwords at the login: which opens what, by which mechanism, and what becomes of its sessions."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from scramp import ScramClient
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from mailftp.accounts.app_passwords import (
    NOTED_EVERY,
    AppPasswordUses,
    generate_app_password,
    named,
    opens,
    protocol_of,
)
from mailftp.accounts.avatars import ISubmitter
from mailftp.accounts.credentials import Password
from mailftp.accounts.login import LoginRefused
from mailftp.accounts.passwords import make_scram_keys, make_verifier
from mailftp.accounts.sasl import Challenge, Channel, Mechanisms, Proven
from mailftp.files.home import IHome
from mailftp.store.engine import StoreFault
from mailftp.store.records import AppPassword, Verifier
from mailftp.store.units import NoteAppPasswordUse
from tests.accounts.logins import REMOTE
from tests.accounts.stores import CHEAP
from tests.accounts.test_login import Attempts

BOB = "bob@example.test"


class Made(SynchronousTestCase):
    def test_form(self) -> None:
        """Five groups that can be read aloud, the first of which says which it is, and is not one that is
        there."""
        taken: set[str] = set()
        for _ in range(50):
            selector, password = generate_app_password(taken)
            self.assertRegex(password, re.compile(r"\A[a-hjkmnp-z2-9]{4}(-[a-hjkmnp-z2-9]{4}){4}\Z"))
            self.assertEqual(password[:4], selector)
            self.assertNotIn(selector, taken)
            taken.add(selector)
        self.assertEqual(len({generate_app_password()[1] for _ in range(50)}), 50)

    def test_named(self) -> None:
        """Only what has the whole form, and the selector of one that is there."""
        phone = AppPassword(1, "phone", "abcd", (), False, 0.0, Verifier("$a"))
        verifier = Verifier("$own", None, (phone,))
        right = b"abcd-efgh-jkmn-pqrs-tuvw"
        self.assertIs(named(right, verifier), phone)
        for password in (
            b"abce-efgh-jkmn-pqrs-tuvw",
            b"abcd-efgh-jkmn-pqrs",
            b"ABCD-efgh-jkmn-pqrs-tuvw",
            right + b"\n",
            right + b"-aaaa",
            b"",
            b"\xff",
        ):
            self.assertIsNone(named(password, verifier), password)
        self.assertIsNone(named(right, Verifier("$own")))

    def test_opens(self) -> None:
        """Its protocols, by either of their services; one for nothing in particular is for everything."""
        one = AppPassword(1, "n", "abcd", ("ftp", "smtp"), False, 0.0, Verifier("$a"))
        for service, opened in (
            ("ftp", True),
            ("ftps", True),
            ("submission", True),
            ("submissions", True),
            ("imap", False),
            ("imaps", False),
            ("https", False),
            ("", False),
        ):
            self.assertEqual(opens(one, service), opened, service)
            self.assertTrue(opens(replace(one, protocols=()), service))
        self.assertEqual([protocol_of(s) for s in ("imaps", "https", "lmtp")], ["imap", "http", "smtp"])


class Uses(SynchronousTestCase):
    class Noting:
        def __init__(self) -> None:
            self.units: list[Any] = []
            self.answer: Deferred[Any] | None = None

        def commit(self, unit: Any) -> Deferred[Any]:
            self.units.append(unit)
            return self.answer or Deferred()

    def test_sparingly(self) -> None:
        """Once an hour for each; a failure is logged and never reaches the login."""
        now = [1e9]
        store = self.Noting()
        uses = AppPasswordUses(store, lambda: now[0])  # type: ignore[arg-type]  # as much of a store as it needs
        one = AppPassword(1, "n", "abcd", (), False, 0.0, Verifier("$a"))
        two = replace(one, id=2)
        for _ in range(3):
            uses.note(one)
            uses.note(two)
        self.assertEqual(store.units, [NoteAppPasswordUse(1), NoteAppPasswordUse(2)])
        now[0] += NOTED_EVERY - 1
        uses.note(one)
        now[0] += 1
        store.answer = fail(StoreFault("the disk is full"))
        done = uses.note(one)
        assert done is not None
        self.successResultOf(done)
        self.assertEqual(len(store.units), 3)
        self.assertEqual(len(self.flushLoggedErrors(StoreFault)), 1)


class Logins(Attempts):
    """Bob has the app password `phone` for IMAP and submission, and `backup`, which only reads by FTP."""

    def setUp(self) -> None:
        super().setUp()
        account, verifier = self.store.accounts[BOB]
        assert verifier.scram is not None
        self.passwords: dict[str, bytes] = {}
        made = []
        for number, (name, protocols) in enumerate((("phone", ("imap", "smtp")), ("backup", ("ftp",))), 1):
            selector, password = generate_app_password()
            own = make_verifier(password, CHEAP, verifier.scram)
            made.append(AppPassword(number, name, selector, protocols, name == "backup", 0.0, own))
            self.passwords[name] = password.encode()
        self.verifier = replace(verifier, app_passwords=tuple(made))
        self.store.accounts[BOB] = (account, self.verifier)
        self.made = made

    def login_to(self, service: str, password: bytes, interface: Any = ISubmitter, **more: Any) -> Any:
        return self.login.attempt(
            Password(b"bob", password),
            peer=REMOTE,
            service=service,
            context="x-1",
            interfaces=(interface,),
            **more,
        )

    async def test_scope(self) -> None:
        """Each opens what it is for, the account's own password everything; the log says which it was."""
        for service in ("imap", "imaps", "submission", "submissions"):
            found = await self.login_to(service, self.passwords["phone"])
            self.assertEqual(found.name, BOB)
            self.assertEqual(self.lines[-1][1]["app_password"], "phone")
        await self.login_to("pop3", b"hungry")
        self.assertNotIn("app_password", self.lines[-1][1])
        for service, name in (("pop3", "phone"), ("ftp", "phone"), ("imap", "backup")):
            failure = await self.settled(self.login_to(service, self.passwords[name]))
            self.assertIs(failure.type, LoginRefused)
            self.assertEqual(str(failure.value), "wrong name or password")
            event, fields = self.lines[-1]
            self.assertEqual((event, fields["app_password"]), ("login refused", name))
            self.assertEqual(fields["reason"], "app password of another protocol")
        self.assertNotIn(self.passwords["phone"].decode(), repr(self.lines))

    async def test_read_only(self) -> None:
        """The home is asked for as one in which nothing is changed."""
        asked: list[bool] = []
        self.patch(self.realm, "home_for", lambda account, read_only: asked.append(read_only))
        await self.login_to("ftps", self.passwords["backup"], IHome)
        await self.login_to("ftp", b"hungry", IHome)
        self.assertEqual(asked, [True, False])

    async def test_one_hash(self) -> None:
        """A login costs one look-up and one argon2, whatever its password looks like and whoever it names."""
        hashed: list[str] = []
        passwords = self.checker._passwords
        check = passwords._check

        def counted(prepared: bytes, stored: str) -> bool:
            hashed.append(stored)
            return check(prepared, stored)

        self.patch(passwords, "_check", counted)
        wrong = self.passwords["phone"][:-4] + b"aaaa"
        unknown = generate_app_password([each.selector for each in self.made])[1].encode()
        for name, password in (
            (b"bob", wrong),
            (b"bob", unknown),
            (b"bob", b"nonsense"),
            (b"alice", wrong),
            (b"nobody", wrong),
        ):
            hashed.clear()
            self.store.reads.clear()
            failure = await self.settled(
                self.login.attempt(
                    Password(name, password),
                    peer=REMOTE,
                    service="imap",
                    context="x-1",
                    interfaces=(ISubmitter,),
                )
            )
            self.assertIs(failure.type, LoginRefused)
            self.assertEqual((len(hashed), len(self.store.reads)), (1, 1), (name, password))

    async def test_remembered(self) -> None:
        """One that was right is known for a while, as itself: nothing else opens by it, and not when it is
        gone."""
        await self.login_to("imap", self.passwords["phone"])
        self.patch(self.checker._passwords, "_threads", None)
        await self.login_to("imap", self.passwords["phone"])
        self.patch(self.checker._passwords, "_threads", self.threads)
        account, _ = self.store.accounts[BOB]
        self.store.change(BOB, account, replace(self.verifier, app_passwords=(self.made[1],)))
        self.assertIs((await self.settled(self.login_to("imap", self.passwords["phone"]))).type, LoginRefused)

    async def test_sessions(self) -> None:
        """Those of a removed one end, and no others; a new password of the account ends only its own; a
        disabled account all."""
        closed: list[str] = []
        for name, service, password in (
            ("phone", "imap", self.passwords["phone"]),
            ("backup", "ftp", self.passwords["backup"]),
            ("own", "imap", b"hungry"),
        ):
            interface = IHome if service == "ftp" else ISubmitter

            def close(name: str = name) -> None:
                closed.append(name)

            await self.login_to(service, password, interface, close=close)
        account, _ = self.store.accounts[BOB]
        left = replace(self.verifier, app_passwords=(self.made[1],))
        self.store.change(BOB, account, left)
        self.assertEqual(closed, ["phone"])
        closed.clear()
        changed = replace(account, verifier_version=account.verifier_version + 1)
        self.store.change(BOB, changed, left)
        self.assertIn("own", closed)
        self.assertNotIn("backup", closed)
        self.store.change(BOB, replace(changed, disabled=True), left)
        self.assertIn("backup", closed)

    async def scram(self, name: str, password: bytes, service: str) -> Any:
        """scramp's client logs in; the server's signature is checked where the login succeeds."""
        channel = Channel(secure=True, plaintext_allowed=True)
        exchange = Mechanisms(self.portal).begin("SCRAM-SHA-256", channel)
        assert exchange is not None
        client = ScramClient(["SCRAM-SHA-256"], name, password.decode())
        challenge = await exchange.step(client.get_client_first().encode())
        assert isinstance(challenge, Challenge)
        client.set_server_first(challenge.data.decode())
        proven = await exchange.step(client.get_client_final().encode())
        assert isinstance(proven, Proven) and proven.final is not None
        found = await self.settled(
            self.login.attempt(
                proven.credentials, peer=REMOTE, service=service, context="x-1", interfaces=(ISubmitter,)
            )
        )
        if not hasattr(found, "type"):
            client.set_server_final(proven.final.decode())
        return found

    async def test_scram(self) -> None:
        """SCRAM takes each of them and the account's own, in the same scope, and signs with its keys."""
        for password, service, app_password in (
            (b"hungry", "pop3", None),
            (self.passwords["phone"], "imap", "phone"),
            (self.passwords["backup"], "ftp", "backup"),
        ):
            found = await self.scram("bob", password, service)
            self.assertEqual(found.name, BOB)
            self.assertEqual(self.lines[-1][1].get("app_password"), app_password)
        self.assertIs((await self.scram("bob", self.passwords["phone"], "pop3")).type, LoginRefused)
        self.assertIs((await self.scram("alice", self.passwords["phone"], "imap")).type, LoginRefused)

    async def test_scram_of_another_salt(self) -> None:
        """The account's password was set with a new salt: SCRAM knows the app passwords no longer, the others
        do, and nobody gets in by them in another way."""
        account, _ = self.store.accounts[BOB]
        own = replace(self.verifier, scram=make_scram_keys(b"new"))
        self.store.accounts[BOB] = (account, own)
        self.assertEqual((await self.scram("bob", b"new", "pop3")).name, BOB)
        self.assertIs((await self.scram("bob", self.passwords["phone"], "imap")).type, LoginRefused)
        self.assertEqual((await self.login_to("imap", self.passwords["phone"])).name, BOB)

    async def test_scram_of_nobody(self) -> None:
        """An unknown name gets a salt, and its app passwords none: no proof fits."""
        self.assertIs((await self.scram("nobody", self.passwords["phone"], "imap")).type, LoginRefused)
