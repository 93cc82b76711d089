"""`mailftp init` and `mailftp check`."""

from __future__ import annotations

import contextlib
import io
import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from twisted.trial.unittest import SynchronousTestCase

from mailftp.cli.command import run
from mailftp.settings.file import read_settings


def call(*arguments: str) -> tuple[int, str, str]:
    """(exit status, standard output, standard error) of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = run(arguments)
        except SystemExit as ended:
            status = int(ended.code or 0)
    return status, out.getvalue(), err.getvalue()


class Init(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()

    def make(self, *more: str) -> tuple[int, str, str]:
        return call("init", str(self.folder), "--hostname", "mx.a.test", "--domain", "a.test", *more)

    def test_makes_a_folder(self) -> None:
        """What init makes is valid, with every domain that was named."""
        status, out, err = self.make("--domain", "B.test")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("mailftp.toml", out)
        settings = read_settings(self.folder / "mailftp.toml")
        self.assertEqual(settings.hostname, "mx.a.test")
        self.assertEqual(settings.domains, ("a.test", "b.test"))
        self.assertEqual(settings.listen["smtp"], ("tcp:2525:interface=127.0.0.1",))
        self.assertEqual(call("check", "--config", str(self.folder / "mailftp.toml"))[0], 0)

    def test_certificate(self) -> None:
        """The certificate is for the host name and for localhost, signed by the authority beside it."""
        self.make()
        tls = self.folder / "tls"
        ca = x509.load_pem_x509_certificate((tls / "ca.pem").read_bytes())
        certificate = x509.load_pem_x509_certificate((tls / "cert.pem").read_bytes())
        certificate.verify_directly_issued_by(ca)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["mx.a.test", "localhost"])
        key = load_pem_private_key((tls / "key.pem").read_bytes(), None)
        self.assertEqual(key.public_key(), certificate.public_key())

    def test_secrets_are_secret(self) -> None:
        """Nobody else can read a private key or the data."""
        self.make()
        for name in ("tls/key.pem", "tls/ca-key.pem", "data/dkim/a.test/mailftp.pem"):
            self.assertEqual(stat.S_IMODE((self.folder / name).stat().st_mode), 0o600, name)
        self.assertEqual(stat.S_IMODE((self.folder / "data").stat().st_mode), 0o700)

    def test_overwrites_nothing(self) -> None:
        """A second init says what is in the way and changes nothing."""
        self.make()
        before = {file: file.read_bytes() for file in self.folder.rglob("*") if file.is_file()}
        status, out, err = self.make()
        self.assertEqual((status, out), (1, ""))
        self.assertIn("is there already", err)
        self.assertEqual(
            before, {file: file.read_bytes() for file in self.folder.rglob("*") if file.is_file()}
        )

    def test_misuse(self) -> None:
        """What is missing or misspelt is named, with exit status 2."""
        for arguments, said in (
            (("init",), "DIR"),
            (("init", str(self.folder), "--domain", "a.test"), "--hostname"),
            (("init", str(self.folder), "--hostname", "mx.a.test"), "--domain"),
            (("init", str(self.folder), "--hostname", "m x", "--domain", "a.test"), "m x"),
            ((), "command"),
            (("inti",), "inti"),
        ):
            status, out, err = call(*arguments)
            self.assertEqual((status, out), (2, ""), arguments)
            self.assertIn(said, err)
        self.assertFalse(self.folder.exists())

    def test_a_file_in_the_way(self) -> None:
        """A folder that cannot be made is said in a line."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder.touch()
        status, _, err = self.make()
        self.assertEqual(status, 1)
        self.assertEqual(len(err.splitlines()), 1)


class Check(SynchronousTestCase):
    def test_faults(self) -> None:
        """Every fault is a line on standard error, and the exit status is 1."""
        status, out, err = call(
            "check", "--config", str(Path(__file__).parents[1] / "bad_settings/several.toml")
        )
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(len(err.splitlines()), 3)

    def test_broken_certificate(self) -> None:
        """A certificate that is there and cannot be used is a fault that names its file."""
        folder = Path(self.mktemp()).absolute()
        call("init", str(folder), "--hostname", "mx.a.test", "--domain", "a.test")
        (folder / "tls" / "cert.pem").write_text("no certificate")
        status, out, err = call("check", "--config", str(folder / "mailftp.toml"))
        self.assertEqual((status, out), (1, ""))
        self.assertIn("cert.pem", err)
        self.assertEqual(len(err.splitlines()), 1)

    def test_notice(self) -> None:
        """What has no effect in this release is a notice, and the file is fine."""
        file = Path(self.mktemp())
        file.write_text("workers = 4\n")
        status, out, err = call("check", "--config", str(file))
        self.assertEqual(status, 0)
        self.assertIn("workers", err)
        self.assertIn("fine", out)
