from __future__ import annotations

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailftp.accounts.passwords import (
    LONGEST_PASSWORD,
    SCRAM_ITERATIONS,
    Busy,
    HashingThreads,
    PasswordFault,
    Passwords,
    generate_password,
    make_scram_keys,
    make_verifier,
    prepare_password,
)
from mailftp.settings import Argon2
from tests.accounts.stores import CHEAP


class PreparationTests(SynchronousTestCase):
    def test_ascii_stays(self) -> None:
        """A password of printable ASCII is hashed as it is, spaces included."""
        self.assertEqual(prepare_password(b" correct horse~ "), b" correct horse~ ")

    def test_examples_of_rfc_4013(self) -> None:
        """The examples of RFC 4013 section 3 come out as it says."""
        self.assertEqual(prepare_password("I\u00adX".encode()), b"IX")
        self.assertEqual(prepare_password("\u00aa".encode()), b"a")
        self.assertEqual(prepare_password("\u2168".encode()), b"IX")
        for refused in ("\u0007", "\u06271"):
            with self.assertRaises(PasswordFault):
                prepare_password(refused.encode())

    def test_two_ways_to_type_an_umlaut(self) -> None:
        """Composed and decomposed letters are one password, as are two kinds of space."""
        self.assertEqual(prepare_password("Mu\u0308ller\u00a0x".encode()), "M\u00fcller x".encode())

    def test_emoji(self) -> None:
        """A code point that SASLprep's Unicode 3.2 does not know is taken."""
        self.assertEqual(prepare_password("\U0001f511".encode()), "\U0001f511".encode())

    def test_refused(self) -> None:
        """Empty, too long, no UTF-8, control characters, and what is empty once normalised."""
        for refused in (b"", b"x" * (LONGEST_PASSWORD + 1), b"\xff", b"a\nb", b"a\x00b", "\u00ad".encode()):
            with self.assertRaises(PasswordFault):
                prepare_password(refused)
        self.assertEqual(len(prepare_password(b"x" * LONGEST_PASSWORD)), LONGEST_PASSWORD)

    def test_growth_is_bounded(self) -> None:
        """A character that normalises to eighteen does not pass the limit."""
        with self.assertRaises(PasswordFault):
            prepare_password("\ufdfa".encode() * 341)

    @given(st.binary(max_size=64) | st.text(max_size=32).map(lambda text: text.encode("utf-8", "replace")))
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_anything(self, password: bytes) -> None:
        """Whatever comes is prepared once and for all, or refused."""
        try:
            prepared = prepare_password(password)
        except PasswordFault:
            return
        self.assertEqual(prepare_password(prepared), prepared)
        self.assertNotIn(b"\0", prepared)


class VerifierTests(SynchronousTestCase):
    def test_argon2id(self) -> None:
        """What is stored is an argon2id string with the settings' costs, which somebody else's code takes."""
        verifier = make_verifier("s\u00e9same", Argon2(time_cost=3, memory_cost=64, parallelism=2))
        self.assertTrue(verifier.password.startswith("$argon2id$v=19$m=64,t=3,p=2$"))
        self.assertTrue(PasswordHasher().verify(verifier.password, "s\u00e9same"))

    def test_salts_differ(self) -> None:
        """The same password twice gives two verifiers."""
        one, two = make_verifier("x", CHEAP), make_verifier("x", CHEAP)
        assert one.scram is not None and two.scram is not None
        self.assertNotEqual(one.password, two.password)
        self.assertNotEqual(one.scram.salt, two.scram.salt)
        self.assertGreaterEqual(one.scram.iterations, 10_000)

    def test_no_password_in_it(self) -> None:
        """Neither password nor a form of it is in the verifier."""
        self.assertNotIn("hunter2", repr(make_verifier("hunter2", CHEAP)))

    def test_scram_keys_by_oracle(self) -> None:
        """scramp finds the same keys."""
        from scramp import ScramMechanism

        keys = make_scram_keys(b"pencil", b"0123456789abcdef", SCRAM_ITERATIONS)
        _, stored, server, _ = ScramMechanism("SCRAM-SHA-256").make_auth_info(
            "pencil", SCRAM_ITERATIONS, b"0123456789abcdef"
        )
        self.assertEqual((keys.stored_key, keys.server_key), (stored, server))

    def test_generated(self) -> None:
        """A generated password is four groups of four, without look-alikes, and another each time."""
        made = {generate_password() for _ in range(50)}
        self.assertEqual(len(made), 50)
        for password in made:
            self.assertRegex(password, r"\A[a-hjkmnp-z2-9]{4}(-[a-hjkmnp-z2-9]{4}){3}\Z")
            self.assertEqual(prepare_password(password.encode()), password.encode())


class VerifyTests(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.threads = HashingThreads(reactor, threads=1, waiting=1)
        self.threads.start()
        self.addCleanup(self.threads.stop)
        self.passwords = Passwords(self.threads, CHEAP, self.clock, remembered=3)
        self.hashed = 0
        check = self.passwords._check

        def counted(prepared: bytes, stored: str) -> bool:
            self.hashed += 1
            return check(prepared, stored)

        self.passwords._check = counted

    async def test_right_and_wrong(self) -> None:
        """The right password is right in every way to type it, another is not."""
        stored = make_verifier("M\u00fcller", CHEAP).password
        self.assertTrue(await self.passwords.verify("a", "Mu\u0308ller".encode(), stored))
        self.assertFalse(await self.passwords.verify("a", b"Mueller", stored))

    async def test_nobody(self) -> None:
        """An unknown name, an empty stored verifier and a password that cannot be are hashed all the same."""
        stored = make_verifier("x", CHEAP).password
        self.assertFalse(await self.passwords.verify("", b"x", ""))
        self.assertFalse(await self.passwords.verify("a", b"\xff", stored))
        self.assertFalse(await self.passwords.verify("a", b"", stored))
        self.assertFalse(await self.passwords.verify("a", b"?", ""))
        self.assertEqual(self.hashed, 4)

    async def test_remembered(self) -> None:
        """A right password is not hashed again for minutes; then it is."""
        stored = make_verifier("x", CHEAP).password
        for _ in range(3):
            self.assertTrue(await self.passwords.verify("a", b"x", stored))
        self.assertEqual(self.hashed, 1)
        self.clock.advance(301)
        self.assertTrue(await self.passwords.verify("a", b"x", stored))
        self.assertEqual(self.hashed, 2)

    async def test_remembered_by_all_three(self) -> None:
        """Another name, another password or a changed verifier is checked itself."""
        stored = make_verifier("x", CHEAP).password
        await self.passwords.verify("a", b"x", stored)
        self.assertFalse(await self.passwords.verify("a", b"y", stored))
        self.assertFalse(await self.passwords.verify("a", b"x", make_verifier("y", CHEAP).password))
        self.assertTrue(await self.passwords.verify("b", b"x", stored))
        self.assertEqual(self.hashed, 4)

    async def test_wrong_is_not_remembered(self) -> None:
        """A wrong password costs a hash each time."""
        stored = make_verifier("x", CHEAP).password
        for _ in range(3):
            self.assertFalse(await self.passwords.verify("a", b"y", stored))
        self.assertEqual(self.hashed, 3)

    async def test_memory_is_bounded(self) -> None:
        """The oldest of what was verified is forgotten first; no password is kept in the clear."""
        stored = make_verifier("x", CHEAP).password
        for name in "abcde":
            await self.passwords.verify(name, b"x", stored)
        self.assertEqual(len(self.passwords._verified), 3)
        await self.passwords.verify("e", b"x", stored)
        self.assertEqual(self.hashed, 5)
        await self.passwords.verify("a", b"x", stored)
        self.assertEqual(self.hashed, 6)
        self.assertTrue(all(len(key) == 32 for key in self.passwords._verified))

    async def test_damaged_verifier(self) -> None:
        """A stored string that argon2 cannot read is an error of ours, not a wrong password."""
        with self.assertRaises((VerificationError, InvalidHashError)):
            await self.passwords.verify("a", b"x", "$argon2id$broken")

    async def test_queue_is_bounded(self) -> None:
        """With one thread and one place to wait a third gets Busy; a waiter that gave up keeps its
        place until its work is done."""
        from twisted.internet.defer import CancelledError, Deferred

        gate = threading.Event()
        self.addCleanup(gate.set)
        first = Deferred.fromCoroutine(self.threads.run(gate.wait, 10))
        second = Deferred.fromCoroutine(self.threads.run(int, "7"))
        with self.assertRaises(Busy):
            await self.threads.run(int, "8")
        first.cancel()
        with self.assertRaises(CancelledError):
            await first
        with self.assertRaises(Busy):
            await self.threads.run(int, "8")
        gate.set()
        self.assertEqual(await second, 7)
        self.assertEqual(await self.threads.run(int, "9"), 9)

    async def test_stop_twice(self) -> None:
        """Stopping is idempotent, and leaves no thread of ours behind."""
        self.assertEqual(await self.threads.run(int, "7"), 7)
        before = threading.active_count()
        self.threads.stop()
        self.threads.stop()
        self.assertLess(threading.active_count(), before)
