"""Signing in by a browser: cookies, sessions, the own password; and what pages of others try."""

from __future__ import annotations

import json
from dataclasses import replace
from http.cookies import SimpleCookie
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from mailftp.accounts.app_passwords import generate_app_password
from mailftp.accounts.checkers import StoreChecker
from mailftp.accounts.login import Login
from mailftp.accounts.passwords import HashingThreads, Passwords, make_verifier
from mailftp.accounts.realm import MailRealm
from mailftp.accounts.sessions import Sessions
from mailftp.settings import Argon2, Auth
from mailftp.store.memory import MemoryStore
from mailftp.store.queries import AccountWithVerifier
from mailftp.store.units import AddAccount, AddAppPassword, RemoveAppPasswords, SetAccount, SetVerifier
from mailftp.web.authentication import Authentication, Unauthenticated
from mailftp.web.forwarded import Origin
from mailftp.web.furnishing import make_root
from mailftp.web.hosts import parse_host
from mailftp.web.pages import Answer, Visit
from mailftp.web.root import Root
from mailftp.web.webmail.browsers import NOTED_EVERY
from mailftp.web.webmail.furnishing import Mail, add_webmail
from mailftp.wire.peer import Peer
from tests.store.messages import OTHER_VERIFIER
from tests.web.site import web_settings

CHEAP = Argon2(time_cost=1, memory_cost=8, parallelism=1)
ALICE, BOB = "alice@a.test", "bob@a.test"
MARK = {"x-requested-with": "mailftp", "sec-fetch-site": "same-origin"}
DAY = 86400.0


class SigningInCase(TestCase):
    """`alice@a.test` has the password "teapot"."""

    timeout = 60

    async def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.store = MemoryStore(self.clock.seconds)
        await self.store.start()
        threads = HashingThreads(reactor)
        threads.start()
        self.addCleanup(threads.stop)
        passwords = Passwords(threads, CHEAP, self.clock)
        sessions = Sessions(self.store)
        for address, password in ((ALICE, "teapot"), (BOB, "hungry")):
            await self.store.commit(AddAccount(address, await passwords.make_verifier(password)))
        realm = MailRealm(self.store, sessions, lambda account: None, domains=("a.test",))
        checker = StoreChecker(self.store, passwords, ("a.test",), secret=b"kept")
        auth = Auth(failure_delay=0.0, argon2=CHEAP)
        login = Login(Portal(realm, [checker]), auth, ("a.test",), self.clock)
        mail = Mail(self.store, login, self.clock.seconds, passwords.make_verifier)
        self.root: Root = make_root(web_settings())
        self.authentication = Authentication(login, self.clock)
        add_webmail(self.root, web_settings(), mail, self.authentication)
        self.cookies: dict[str, str] = {}
        self.set: list[str] = []

    async def ask(
        self,
        path: str,
        body: object = None,
        *,
        secure: bool = True,
        base: str = "https://mx.a.test/",
        peer: str = "192.0.2.9",
        cookie: str | None = None,
        rest: tuple[str, ...] = (),
        query: dict[str, str] | None = None,
        text: bool = False,
        **fields: str | None,
    ) -> tuple[int, Any]:
        """(status, what was told). The fields replace those of our own pages; None takes one away."""
        sent = {**MARK, **{name.replace("_", "-"): value for name, value in fields.items()}}
        header = {name: value for name, value in sent.items() if value is not None}
        if cookie is None:
            cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        visit = Visit(
            Origin(Peer.of(peer, 4000), secure),
            parse_host("mx.a.test"),
            base,
            "GET" if body is None else "POST",
            query or {},
            b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode(),
            {"host": "mx.a.test", "user-agent": "Browser 1", "cookie": cookie, **header},
            rest,
        )
        places = {**self.root._beneath, **self.root._pages}
        page = places[tuple(path.encode().split(b"/")[1:])]
        found = page.answer(visit)
        answer: Answer = found if isinstance(found, Answer) else await found
        self.answer = answer
        if "Set-Cookie" in answer.headers:
            self.set.append(answer.headers["Set-Cookie"])
            for name, morsel in SimpleCookie(answer.headers["Set-Cookie"]).items():
                self.cookies[name] = morsel.value
        return answer.status, answer.body.decode() if text else json.loads(answer.body)

    async def sign_in(self, stay: bool = False, **more: Any) -> tuple[int, Any]:
        return await self.ask(
            "/session/open", {"name": "alice@a.test", "password": "teapot", "stay": stay}, **more
        )

    async def status(self, **more: Any) -> int:
        """Of whether somebody is signed in."""
        status, told = await self.ask("/session", **more)
        self.assertEqual(status, 200)
        return 200 if told["address"] else 401


class SessionTests(SigningInCase):
    async def test_sign_in_and_out(self) -> None:
        """The cookie is the host's alone, out of the reach of scripts and of other sites' requests; it opens
        the account until somebody signs out, and then no longer."""
        self.assertEqual(await self.status(), 401)
        self.assertEqual(await self.sign_in(), (200, {"address": ALICE}))
        [cookie] = self.set
        self.assertRegex(cookie, r"^__Host-mailftp=[\w-]{43}; Path=/; HttpOnly; SameSite=Strict; Secure$")
        status, told = await self.ask("/session")
        self.assertEqual((status, told["address"], told["changesPassword"]), (200, ALICE, True))
        before = dict(self.cookies)
        self.assertEqual(await self.ask("/session/close", {}), (200, {}))
        self.assertIn("Max-Age=0", self.set[-1])
        self.assertIn("cache", self.answer.headers["Clear-Site-Data"])
        self.cookies = before
        self.assertEqual(await self.status(), 401)

    async def test_cookie(self) -> None:
        """One that is kept has an age; behind another server's path it stands for that path; two of its name,
        or one that is no token, count for nothing."""
        await self.sign_in(stay=True)
        self.assertIn(f"Max-Age={int(90 * DAY)}", self.set[-1])
        [(name, token)] = self.cookies.items()
        self.assertEqual(await self.status(cookie=f"a=b; {name}={token}; c"), 200)
        for bad in (
            f"{name}={token}; {name}={token}",
            f"{name}={token}x",
            f"{name}=",
            f"mailftp={token}",
            name,
        ):
            self.assertEqual(await self.status(cookie=bad), 401, bad)
        self.cookies.clear()
        await self.sign_in(base="https://mx.a.test/box/")
        self.assertRegex(self.set[-1], r"^mailftp=[\w-]{43}; Path=/box/; .*; Secure$")
        self.cookies.clear()
        await self.sign_in(base="http://mx.a.test/", secure=False, peer="127.0.0.1")
        self.assertRegex(self.set[-1], r"^mailftp=[\w-]{43}; Path=/; HttpOnly; SameSite=Strict$")

    async def test_wrong(self) -> None:
        """A wrong password, an unknown name and a disabled account get the same words; too many are told to
        wait, and nothing is taken without TLS from elsewhere."""
        await self.store.commit(SetAccount(BOB, (("disabled", True),)))
        said = set()
        for name, password in (
            (ALICE, "wrong"),
            ("nobody@a.test", "teapot"),
            (BOB, "hungry"),
            ("\ud800", "x"),
        ):
            body = {"name": name, "password": password, "stay": False}
            status, told = await self.ask("/session/open", body)
            self.assertIn(status, (401, 400))
            said.add((status, told["detail"]))
        self.assertEqual(len(said), 2, said)
        for number in range(20):
            body = {"name": ALICE, "password": f"guess {number}", "stay": False}
            await self.ask("/session/open", body)
        status, told = await self.sign_in()
        self.assertEqual(status, 429)
        self.assertRegex(told["detail"], r"Try again in \d+ minute")
        self.assertGreater(int(self.answer.headers["Retry-After"]), 0)
        self.assertEqual((await self.sign_in(secure=False, peer="198.51.100.1"))[0], 403)
        self.assertEqual(self.set, [])

    async def test_app_password(self) -> None:
        """One is for programs: it opens no browser, whatever it is for."""
        selector, password = generate_app_password()
        verifier = replace(make_verifier(password, CHEAP), scram=None)
        for protocols in ((), ("http",)):
            await self.store.commit(AddAppPassword(ALICE, f"for {protocols}", selector, verifier, protocols))
            status, told = await self.ask(
                "/session/open", {"name": ALICE, "password": password, "stay": True}
            )
            self.assertIn(status, (401, 403), protocols)
            await self.store.commit(RemoveAppPasswords(ALICE, None))
        self.assertEqual(self.set, [])

    async def test_bad_requests(self) -> None:
        """What is no object of the right members is told so, and does nothing."""
        for body in (
            b"",
            b"[",
            b"[]",
            b"{}",
            b"\xff",
            b"[" * 7000,
            {"name": 1, "password": "x", "stay": True},
            {"name": "a", "password": "", "stay": True},
            {"name": "a", "password": "x\0", "stay": True},
            {"name": "a", "password": "x" * 1025, "stay": False},
            {"name": "a", "password": "x"},
        ):
            self.assertEqual((await self.ask("/session/open", body))[0], 400, body)
        await self.sign_in()
        for body in (
            {},
            {"close": 1},
            {"close": ["1"]},
            {"close": [True]},
            {"close": [1] * 101},
            {"close": [-1]},
            {"close": [2**63]},
        ):
            self.assertEqual((await self.ask("/session/list", body))[0], 400, body)

    async def test_other_sites(self) -> None:
        """CSRF: another site's page, a sibling below the same domain, and one that cannot set our header have
        the cookie sent for nothing; nor can they sign somebody in."""
        await self.sign_in()
        for fields in (
            {"sec_fetch_site": "cross-site"},
            {"sec_fetch_site": "same-site"},
            {"sec_fetch_site": "none"},
            {"x_requested_with": None},
            {"sec_fetch_site": None, "origin": "https://evil.test"},
            {"sec_fetch_site": None, "origin": "null"},
            {"sec_fetch_site": None, "origin": "https://mx.a.test.evil.test"},
            {"sec_fetch_site": None, "origin": "https://mx.a.test@evil.test"},
        ):
            self.assertEqual((await self.ask("/session/list", {"close": []}, **fields))[0], 401, fields)
            self.assertEqual((await self.sign_in(**fields))[0], 403, fields)
        for fields in ({"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}):
            self.assertEqual(await self.status(**fields), 401, fields)
        for fields in ({"sec_fetch_site": None, "origin": "https://mx.a.test"}, {"sec_fetch_site": None}):
            self.assertEqual((await self.ask("/session/list", {"close": []}, **fields))[0], 200, fields)
        self.assertEqual(await self.status(sec_fetch_site="none", x_requested_with=None), 200)

    async def test_proof(self) -> None:
        """The cookie says who asks JMAP; from another site it gets 403, without one there is nothing."""
        await self.sign_in()
        [(name, token)] = self.cookies.items()
        for fields, expected in (
            (MARK, ALICE),
            ({**MARK, "sec-fetch-site": "same-site"}, 403),
            ({"sec-fetch-site": "same-origin"}, 403),
        ):
            header = {"cookie": f"{name}={token}", **fields}
            visit = Visit(
                Origin(Peer.of("192.0.2.9"), True),
                parse_host("mx.a.test"),
                "https://mx.a.test/",
                "POST",
                fields=header,
            )
            try:
                found = (await self.authentication.account_of(visit)).address
            except Unauthenticated as refused:
                found = refused.answer.status
            self.assertEqual(found, expected, fields)
        bare = replace(visit, fields={})
        with self.assertRaises(Unauthenticated) as caught:
            await self.authentication.account_of(bare)
        self.assertEqual(caught.exception.answer.status, 401)

    async def test_ages(self) -> None:
        """A session ends when nobody used it for long, and after its lifetime whatever was done."""
        await self.sign_in()
        for _ in range(6):
            self.clock.advance(13 * DAY)
            self.assertEqual(await self.status(), 200)
        self.clock.advance(11 * DAY)
        self.assertEqual(await self.status(), 200)
        self.clock.advance(2 * DAY)
        self.assertEqual(await self.status(), 401)
        self.cookies.clear()
        await self.sign_in()
        self.clock.advance(NOTED_EVERY / 2)
        self.assertEqual(await self.status(), 200)
        # That was too soon to be noted.
        self.clock.advance(14 * DAY - 1)
        self.assertEqual(await self.status(), 401)

    async def test_list_and_revoke(self) -> None:
        """All browsers of the account are told with where they are; each can be closed, others' cannot."""
        await self.sign_in()
        one = dict(self.cookies)
        self.clock.advance(60)
        await self.sign_in(user_agent="Browser 2" + "x" * 300, peer="2001:db8::1")
        _, told = await self.ask("/session/list")
        [this, other] = told["sessions"]
        self.assertEqual((this["this"], this["address"], len(this["agent"])), (True, "2001:db8::1", 200))
        self.assertEqual((other["this"], other["address"], other["agent"]), (False, "192.0.2.9", "Browser 1"))
        two = dict(self.cookies)
        await self.ask("/session/open", {"name": BOB, "password": "hungry", "stay": False})
        _, told = await self.ask("/session/list", {"close": [this["id"], other["id"]]})
        self.assertEqual(len(told["sessions"]), 1)
        self.cookies = two
        _, told = await self.ask("/session/list", {"close": [other["id"]]})
        self.assertEqual([session["id"] for session in told["sessions"]], [this["id"]])
        self.cookies = one
        self.assertEqual(await self.status(), 401)


class PasswordTests(SigningInCase):
    async def test_change(self) -> None:
        """The old one is asked for; the new one ends every other session, and this one gets a new cookie."""
        await self.sign_in()
        other = dict(self.cookies)
        await self.sign_in()
        before = dict(self.cookies)
        _, told = await self.ask("/session/password", {"old": "wrong", "new": "a better one"})
        self.assertIn("wrong", told["detail"])
        for new in ("short", "control\ncharacter", "x" * 1025, "\ud800" * 8):
            status, told = await self.ask("/session/password", {"old": "teapot", "new": new})
            self.assertEqual(status, 400, told)
        self.assertEqual(
            (await self.ask("/session/password", {"old": "teapot", "new": "a better one"}))[0], 200
        )
        self.assertNotEqual(self.cookies, before)
        self.assertEqual(await self.status(), 200)
        for old in (other, before):
            self.cookies = old
            self.assertEqual(await self.status(), 401)
        self.assertEqual((await self.sign_in())[0], 401)
        body = {"name": ALICE, "password": "a better one", "stay": False}
        self.assertEqual((await self.ask("/session/open", body))[0], 200)

    async def test_changed_elsewhere(self) -> None:
        """The operator's new password signs every browser out."""
        await self.sign_in()
        await self.store.commit(SetVerifier(ALICE, OTHER_VERIFIER))
        self.assertEqual(await self.status(), 401)
        _, verifier = await self.store.read(AccountWithVerifier(ALICE))  # type: ignore[misc]
        self.assertEqual(verifier, OTHER_VERIFIER)
        self.assertEqual((await self.ask("/session/password", {"old": "teapot", "new": "12345678"}))[0], 401)


class AppPasswordTests(SigningInCase):
    async def app_passwords(self, **body: Any) -> tuple[int, Any]:
        return await self.ask("/session/app-passwords", body or None)

    async def test_made_listed_removed(self) -> None:
        """One is made with the own password, shown once, and opens no browser; the list has no secret."""
        self.assertEqual((await self.app_passwords())[0], 401)
        await self.sign_in()
        asked = {"name": "Phone", "protocols": ["imap", "smtp"], "readOnly": False, "password": "teapot"}
        status, answer = await self.app_passwords(**asked)
        self.assertEqual(status, 200)
        self.assertRegex(answer["password"], r"^(\w{4}-){4}\w{4}$")
        [listed] = answer["appPasswords"]
        self.assertEqual(
            (listed["name"], listed["protocols"], listed["lastUsed"]), ("Phone", ["imap", "smtp"], None)
        )
        status, answer = await self.app_passwords()
        self.assertEqual((status, answer.keys()), (200, {"appPasswords"}))
        self.assertEqual((await self.app_passwords(**asked))[0], 409)
        self.assertEqual(await self.app_passwords(remove="Phone"), (200, {"appPasswords": []}))
        self.assertEqual((await self.app_passwords(remove="Phone"))[0], 404)

    async def test_refused(self) -> None:
        """A wrong password, a strange protocol, a name of nothing: nothing is made."""
        await self.sign_in()
        asked = {"name": "Phone", "protocols": [], "readOnly": False, "password": "teapot"}
        for change, expected in (
            ({"password": "wrong"}, 401),
            ({"name": " "}, 400),
            ({"name": "x" * 101}, 400),
            ({"name": "a\nb"}, 400),
            ({"protocols": ["telnet"]}, 400),
            ({"protocols": [1]}, 400),
            ({"protocols": ["imap"], "readOnly": True}, 400),
            ({"readOnly": 1}, 400),
        ):
            self.assertEqual((await self.app_passwords(**{**asked, **change}))[0], expected, change)
        self.assertEqual(await self.app_passwords(), (200, {"appPasswords": []}))

    async def test_kept_over_a_new_password(self) -> None:
        """The keys of SCRAM stay by one salt when the own password changes."""
        await self.sign_in()
        await self.app_passwords(name="Phone", protocols=[], readOnly=False, password="teapot")
        await self.ask("/session/password", {"old": "teapot", "new": "a better one"})
        _, verifier = await self.store.read(AccountWithVerifier(ALICE))  # type: ignore[misc]
        [app_password] = verifier.app_passwords
        self.assertEqual(app_password.verifier.scram.salt, verifier.scram.salt)
