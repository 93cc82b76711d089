"""Logging in and protecting: cleartext refused, TLS, anonymous, timeouts, stopping."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cryptography.x509 import DNSName, SubjectAlternativeName
from OpenSSL import SSL

from mailftp.wire.tls import Certificates
from tests import dialogs
from tests.certificates import Authority, service
from tests.certificates import settings as certificates
from tests.connector import Client, advance, connect
from tests.ftp.memory import MemoryCase

ENCRYPTED = Path(__file__).parent / "dialogs_tls"


class Cleartext(MemoryCase):
    peer, host = ("192.0.2.7", 40000), ("192.0.2.21", 21)

    def test_no_password_in_the_clear(self) -> None:
        """From elsewhere than loopback, USER is refused before a password can be sent."""
        self.assertEqual(self.codes(self.say("USER alice", "PASS wonderland")[1:]), ["530", "503"])

    def test_anonymous_needs_no_protection(self) -> None:
        """An anonymous login has no secret."""
        (self.top / "public").mkdir()
        self.start(anonymous=self.top / "public")
        self.assertEqual(
            self.codes(self.say("USER anonymous", "PASS me@example.test")), ["220", "331", "230"]
        )


class Anonymous(MemoryCase):
    def setUp(self) -> None:
        super().setUp()
        (self.top / "public").mkdir()
        (self.top / "public" / "f").write_bytes(b"free")
        self.start(anonymous=self.top / "public")

    def test_reads_and_changes_nothing(self) -> None:
        """Both names of the login, without a password too; every change is refused."""
        for name in ("anonymous", "FTP"):
            self.start(anonymous=self.top / "public")
            self.assertEqual(self.codes(self.say(f"USER {name}", "PASS")), ["220", "331", "230"])
            data = self.passive()
            self.client.send(b"RETR f\r\n")
            self.assertEqual(data.received(), b"free")
            self.answers()
            refused = ["DELE f", "MKD d", "RMD d", "MFMT 20010203040506 f", "MDTM 20010203040506 f"]
            self.assertEqual(self.codes(self.say(*refused)), ["550"] * len(refused))
            self.assertEqual(self.codes(self.say("RNFR f", "RNTO g")), ["350", "550"])
            for verb in ("STOR", "APPE"):
                self.assertEqual(self.codes(self.say("PASV", f"{verb} g")), ["227", "550"])
            self.assertIn("perm=r;", self.say("MLST f")[1])

    def test_not_configured(self) -> None:
        """Without the setting it is a name like any other, and the answers give nothing away."""
        self.start()
        self.assertEqual(
            self.say("USER anonymous", "PASS x")[1:], ["331 Password, please", "530 Login incorrect"]
        )


class Encrypted(MemoryCase):
    peer, host = ("192.0.2.7", 40000), ("192.0.2.21", 21)

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        self.tls = service(folder, "ftp")
        super().setUp()

    def secure(self, **how: object) -> None:
        self.assertEqual(self.codes(self.say("AUTH TLS"))[-1:], ["234"])
        self.client.start_tls(**how)

    def secure_data(self, data: Client) -> None:
        data.start_tls()

    def test_private_data(self) -> None:
        """PROT P encrypts data connections both ways; close_notify ends an upload."""
        self.secure()
        self.log_in("PBSZ 0", "PROT P")
        data = self.passive()
        self.client.send(b"STOR f\r\n")
        self.secure_data(data)
        data.send(b"secret")
        assert data.ssl is not None
        data.ssl.shutdown()
        data._take_ciphertext()
        data.pump()
        self.assertEqual(self.codes(self.answers()), ["125", "226"])
        data = self.passive()
        self.secure_data(data)
        self.client.send(b"RETR f\r\n")
        self.assertEqual(data.received(), b"secret")
        self.assertEqual(self.codes(self.answers()), ["125", "226"])

    def test_end_while_the_disk_is_slow(self) -> None:
        """What TLS had decrypted before the farewell is in the file, though the client was held back then."""
        self.secure()
        self.log_in("PBSZ 0", "PROT P")
        data = self.passive()
        self.client.send(b"STOR f\r\n")
        self.secure_data(data)
        self.runner.held = True
        assert data.ssl is not None
        for _ in range(135):
            data.ssl.send(b"x" * 10_000)
        data.ssl.shutdown()
        data._take_ciphertext()
        data.pump()
        self.runner.held = False
        while self.runner.waiting:
            self.runner.release()
        self.assertEqual(self.codes(self.answers()), ["125", "226"])
        self.assertEqual((self.home / "f").stat().st_size, 1_350_000)

    def test_cut_without_close_notify(self) -> None:
        """An upload whose TLS ends without a farewell was cut by somebody: 426, and it is kept as cut."""
        self.secure()
        self.log_in("PBSZ 0", "PROT P")
        data = self.passive()
        self.client.send(b"STOR f\r\n")
        self.secure_data(data)
        data.send(b"12345")
        data.end()
        self.assertEqual(self.codes(self.answers()), ["125", "426"])
        self.assertEqual((self.shown(), self.say("SIZE f")), ([], ["213 5"]))

    def test_plain_data_on_a_private_connection(self) -> None:
        """A data connection that is not encrypted after PROT P: 425, and nothing is stored."""
        self.secure()
        self.log_in("PBSZ 0", "PROT P")
        data = self.passive()
        self.client.send(b"STOR f\r\n")
        data.send(b"in the clear")
        self.assertEqual(self.codes(self.answers()), ["125", "425"])
        self.assertEqual(self.shown(), [])


class Explicit(Encrypted):
    """AUTH TLS."""

    def test_dialogs(self) -> None:
        """What is said before and after the handshake."""
        for dialog in dialogs.load(ENCRYPTED):
            for piece in (None, 1):
                self.start()
                self.secure()
                dialogs.play(dialog, self.client.exchange, self.client.is_closed, piece)

    def test_injection(self) -> None:
        """Commands that came in the clear behind AUTH are not done after the handshake (CVE-2011-0411)."""
        self.client.send(b"AUTH TLS\r\nUSER alice\r\nPASS wonderland\r\nFEAT\r\n")
        self.assertEqual(self.codes(self.answers()), ["220", "234"])
        self.client.start_tls()
        self.assertEqual(self.say("NOOP"), ["200 Here I am"])
        self.assertEqual(self.codes(self.say("PASS wonderland")), ["503"])

    def test_half_a_line_before(self) -> None:
        """Nor is half a command that is completed inside."""
        self.client.send(b"AUTH TLS\r\nUSER ali")
        self.answers()
        self.client.start_tls()
        self.assertEqual(self.codes(self.say("ce")), ["500"])

    def test_user_before_auth_is_forgotten(self) -> None:
        """A name that was said in the clear is not the one that logs in."""
        self.start(anonymous=self.top)
        self.say("USER anonymous")
        self.secure()
        self.assertEqual(self.codes(self.say("PASS x")), ["503"])

    def test_old_tls(self) -> None:
        """TLS 1.1 is not spoken."""
        self.say("AUTH TLS")
        with self.assertRaises((SSL.Error, ConnectionError)):
            self.client.start_tls(version=SSL.TLS1_1_VERSION)

    def test_another_protocol(self) -> None:
        """A client that wants to speak HTTP is refused in the handshake (ALPACA)."""
        self.say("AUTH TLS")
        with self.assertRaises((SSL.Error, ConnectionError)):
            self.client.start_tls(alpn=[b"http/1.1", b"h2"])

    def test_clear_data(self) -> None:
        """PROT C, and the state before PROT, is a data connection in the clear."""
        self.secure()
        self.log_in("PBSZ 0", "PROT P", "PROT C")
        data = self.passive()
        self.client.send(b"LIST\r\n")
        self.assertEqual((data.received(), data.closed), (b"", True))

    def test_handshake_that_never_ends(self) -> None:
        """A client that says AUTH and then nothing is cut off."""
        self.say("AUTH TLS")
        advance(self.factory, 65)
        self.client.pump()
        self.assertTrue(self.client.closed)


class Required(Explicit):
    """`tls = "required"`; all of the above, and no way round."""

    ftp = {"tls": "required"}
    peer, host = ("127.0.0.1", 40000), ("127.0.0.1", 21)

    def test_clear_data(self) -> None:
        """Neither a login nor a data connection without TLS, on loopback either."""
        self.assertEqual(self.codes(self.say("USER alice", "PASS x")[1:]), ["530", "503"])
        self.secure()
        self.log_in("PBSZ 0")
        self.assertEqual(self.codes(self.say("PASV", "LIST", "STOR f")), ["227", "522", "522"])
        self.assertEqual(self.codes(self.say("PROT C")), ["534"])

    def test_user_before_auth_is_forgotten(self) -> None:
        """Anonymous needs TLS here as well."""
        self.start(anonymous=self.top)
        self.assertEqual(self.codes(self.say("USER anonymous", "PASS x")[1:]), ["530", "503"])


class Implicit(Encrypted):
    """The port that is TLS from the first octet: PROT P is what it starts with."""

    service = "ftps"

    def secure(self, **how: object) -> None:
        self.assertEqual(self.codes(self.answers()), ["220"])

    def test_dialogs(self) -> None:
        """Private data connections without PBSZ and PROT."""
        self.secure()
        self.assertEqual(self.codes(self.say("AUTH TLS")), ["503"])
        self.log_in()
        data = self.passive()
        self.client.send(b"LIST\r\n")
        self.secure_data(data)
        self.assertEqual(data.received(), b"")
        self.assertEqual(self.codes(self.answers()), ["125", "226"])

    def test_nothing_in_the_clear(self) -> None:
        """There is no greeting before the handshake."""
        client = connect(self.factory, peer=self.peer, host=self.host)
        self.assertIsNotNone(client.ssl)


class ClearCommandChannel(MemoryCase):
    """CCC, where the settings allow it."""

    peer, host = ("192.0.2.7", 40000), ("192.0.2.21", 21)
    ftp = {"clear_command_channel": True}

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        self.tls = service(folder, "ftp")
        super().setUp()

    def log_in_encrypted(self) -> None:
        self.say("AUTH TLS")
        self.client.start_tls()
        self.log_in("PBSZ 0", "PROT P")

    def end_tls(self, behind: bytes = b"") -> None:
        """The client's half, with octets in the clear right behind its farewell."""
        client = self.client
        assert client.ssl is not None
        client.ssl.shutdown()
        client._take_ciphertext()
        client.ssl = None
        client._outgoing += behind
        client.pump()

    def test_in_the_clear(self) -> None:
        """After both have said farewell the session goes on, logged in; data stays encrypted, and no password
        is taken any more."""
        self.log_in_encrypted()
        self.assertEqual(self.codes(self.say("CCC")), ["200"])
        self.end_tls(b"PWD\r\n")
        self.assertEqual(self.codes(self.answers()), ["257"])
        data = self.passive()
        self.client.send(b"LIST\r\n")
        data.start_tls()
        self.assertEqual(data.received(), b"")
        self.assertEqual(self.codes(self.answers()), ["125", "226"])
        self.assertEqual(
            self.codes(self.say("CCC", "PROT C", "USER alice", "PASS x")), ["533", "503", "530", "503"]
        )
        self.assertEqual(self.codes(self.say("AUTH TLS")), ["234"])
        self.client.start_tls()
        self.assertEqual(self.codes(self.say("PWD", "USER alice", "PASS wonderland")), ["530", "331", "230"])

    def test_cut_at_every_octet(self) -> None:
        """The farewell may come in pieces; what is encrypted behind CCC is not done."""
        self.log_in_encrypted()
        assert self.client.ssl is not None
        for line in (b"CCC\r\nMKD injected\r\n", b"MKD injected\r\n"):
            self.client.ssl.send(line)
        self.client.ssl.shutdown()
        self.client._take_ciphertext()
        octets, self.client._outgoing = bytes(self.client._outgoing), bytearray()
        self.client.ssl = None
        for at in range(len(octets)):
            self.client.send(octets[at : at + 1])
        # Our last words in TLS.
        self.client.received()
        self.assertEqual(self.codes(self.say("NOOP", "CWD injected")), ["200", "550"])

    def test_no_farewell(self) -> None:
        """A client may go on in the clear without one; what is neither a record nor a command ends it."""
        self.log_in_encrypted()
        self.client.ssl.send(b"CCC\r\n")  # type: ignore[union-attr]
        self.client._take_ciphertext()
        self.client.ssl = None
        self.client.received()
        self.assertEqual(self.codes(self.say("PWD", "PWD")), ["257", "257"])
        self.client = self.connect()
        self.log_in_encrypted()
        self.client.ssl.send(b"CCC\r\n")  # type: ignore[union-attr]
        self.client._take_ciphertext()
        self.client.ssl = None
        self.client.send(b"\x17\x03\x03\xff\xff" + b"x" * 100)
        self.assertTrue(self.client.closed)

    def test_refused(self) -> None:
        """Without the setting, without TLS, and on the port that is TLS from the first octet."""
        self.assertEqual(self.codes(self.say("CCC"))[-1], "530")
        self.start(clear_command_channel=False)
        self.log_in_encrypted()
        self.assertEqual(self.codes(self.say("CCC", "NOOP")), ["534", "200"])


CLIENTS = Authority("Clients")
ALICE = CLIENTS.issue(["alice@example.test"], client=True)


class ClientCertificates(MemoryCase):
    """`tls.client_ca`: a certificate that names an account is its login."""

    peer, host = ("192.0.2.7", 40000), ("192.0.2.21", 21)

    def setUp(self) -> None:
        self.tls = service(Path(self.mktemp()), "ftp", CLIENTS)
        super().setUp()

    def test_login(self) -> None:
        """USER is answered 232, and the home is there; another account still wants its password."""
        self.say("AUTH TLS")
        self.client.start_tls(certificate=ALICE)
        self.assertEqual(self.codes(self.say("USER bob")), ["331"])
        self.assertEqual(self.codes(self.say("PASS wrong", "USER alice", "PWD")), ["530", "232", "257"])
        self.assertEqual(self.codes(self.say("REIN", "PWD", "USER alice")), ["220", "530", "232"])

    def test_none(self) -> None:
        """Without a certificate, or without TLS, nothing is different."""
        self.say("AUTH TLS")
        self.client.start_tls()
        self.assertEqual(self.codes(self.say("USER alice", "PASS wonderland")), ["331", "230"])

    def test_foreign(self) -> None:
        """One that another authority has signed ends the handshake."""
        self.say("AUTH TLS")
        with self.assertRaises((SSL.Error, ConnectionError)):
            self.client.start_tls(certificate=Authority("Others").issue(["alice@example.test"], client=True))
            self.say("USER alice")
            raise ConnectionError(self.client.closed)
        self.assertNotEqual(self.factory.realm.logouts, 1)  # type: ignore[attr-defined]


class HostCertificates(MemoryCase):
    """A folder of certificates, one for each domain."""

    def setUp(self) -> None:
        top = Path(self.mktemp())
        ours = certificates(top)
        named = Authority().issue(["ftp.example.test"])
        (top / "live" / "ftp.example.test").mkdir(parents=True)
        (top / "live" / "ftp.example.test" / "fullchain.pem").write_bytes(named.pem)
        (top / "live" / "ftp.example.test" / "privkey.pem").write_bytes(named.key_pem)
        self.tls = Certificates(replace(ours, certificates=top / "live")).service("ftp")
        super().setUp()

    def test_host_behind_a_handshake(self) -> None:
        """HOST may say what SNI said, or another host of the same domain; one of another domain is refused,
        whether SNI's is known or not. Without SNI any may be said."""
        domains = {"a.test": "a.test", "ftp.a.test": "a.test", "b.test": "b.test"}
        made = self.factory
        made.terms = replace(made.terms, domain_of=domains.get)
        for shaken, host, answer in (
            ("ftp.a.test", "ftp.a.test", "220"),
            ("FTP.a.test", "a.test", "220"),
            ("ftp.a.test", "b.test", "504"),
            ("elsewhere.test", "b.test", "504"),
            (None, "b.test", "220"),
        ):
            self.client = self.connect()
            self.say("AUTH TLS")
            self.client.start_tls(server_name=shaken)
            self.assertEqual(self.say(f"HOST {host}")[0][:3], answer, (shaken, host))

    def test_certificate(self) -> None:
        """HOST before AUTH chooses the certificate where the client has no SNI, for data as well."""
        for host, name in (("", "localhost"), ("ftp.example.test", "ftp.example.test")):
            self.client = self.connect()
            self.say(*([f"HOST {host}"] if host else []), "AUTH TLS")
            self.client.start_tls(server_name=None)
            self.log_in("PBSZ 0", "PROT P")
            data = self.passive()
            self.client.send(b"LIST\r\n")
            data.start_tls(server_name=None)
            for one in (self.client, data):
                assert one.ssl is not None
                shown = one.ssl.get_peer_certificate(as_cryptography=True)
                names = shown.extensions.get_extension_for_class(SubjectAlternativeName).value  # type: ignore[union-attr]
                self.assertIn(name, names.get_values_for_type(DNSName))


class Clocks(MemoryCase):
    def test_no_login(self) -> None:
        """A minute without a login: 421, whatever is said meanwhile."""
        for _ in range(6):
            self.say("NOOP")
            advance(self.factory, 9.9)
        self.assertEqual(self.codes(self.answers()), [])
        advance(self.factory, 2)
        self.assertEqual(self.codes(self.answers()), ["421"])
        self.assertTrue(self.client.closed)

    def test_idle(self) -> None:
        """Five minutes without a word: 421."""
        self.log_in()
        advance(self.factory, 298)
        self.assertEqual(self.answers(), [])
        advance(self.factory, 4)
        self.assertEqual(self.codes(self.answers()), ["421"])

    def test_not_idle_while_data_moves(self) -> None:
        """The control connection is silent for an hour during a transfer, and is not closed."""
        self.log_in()
        data = self.passive()
        self.client.send(b"STOR f\r\n")
        for _ in range(36):
            data.send(b"x")
            advance(self.factory, 100)
        data.end()
        self.assertEqual(self.codes(self.answers()), ["125", "226"])
        advance(self.factory, 250)
        self.assertEqual(self.codes(self.say("NOOP")), ["200"])

    def test_stopping(self) -> None:
        """A server that stops says 421 to the idle, and lets a transfer end first."""
        self.log_in()
        idle, self.client = self.client, self.connect()
        self.log_in()
        data = self.passive()
        self.client.send(b"STOR f\r\n")
        self.answers()
        drained = self.factory.drain(30)
        self.assertEqual(self.codes(self.answers(client=idle)), ["421"])
        self.assertTrue(idle.closed)
        self.assertNoResult(drained)
        data.send(b"x")
        data.end()
        self.assertEqual(self.codes(self.answers()), ["226", "421"])
        self.successResultOf(drained)
        self.assertEqual(self.shown(), ["f"])

    def test_logouts(self) -> None:
        """Every login is logged out once: by REIN, by USER, by QUIT, by the connection's loss."""
        realm = self.factory.realm  # type: ignore[attr-defined]
        for number, words in enumerate((("REIN",), ("USER alice",), ("QUIT",)), 1):
            self.client = self.connect()
            self.log_in(*words)
            self.client.drop() if not self.client.closed else None
            self.assertEqual(realm.logouts, number)
        self.client = self.connect()
        self.log_in()
        self.client.drop()
        self.assertEqual(realm.logouts, 4)
