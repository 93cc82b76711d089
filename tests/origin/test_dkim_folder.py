"""Keys on the disk: which sign, what a rotation changes, and what is no key."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.trial.unittest import SynchronousTestCase

from mailftp.origin import dkim_folder
from mailftp.origin.dkim_folder import GRACE, Key, key_records, make_key, read_keys, rotate, signing
from mailftp.origin.dkim_keys import KeyFault

NOW = 1_800_000_000.0
DAY = 86400.0


class FolderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def signs(self, now: float) -> list[str]:
        return [key.selector for key in signing(read_keys(self.folder), now)]

    def initial(self) -> None:
        self.folder.mkdir()
        make_key(self.folder / "mailftp.pem", "rsa")
        make_key(self.folder / "mailftp-ed25519.pem", "ed25519")

    def test_what_init_makes(self) -> None:
        self.initial()
        self.assertEqual(self.signs(NOW), ["mailftp", "mailftp-ed25519"])
        self.assertEqual(stat.S_IMODE((self.folder / "mailftp.pem").stat().st_mode), 0o600)
        self.assertTrue(key_records(self.folder)["mailftp-ed25519"].startswith("v=DKIM1; k=ed25519; p="))

    def test_nothing(self) -> None:
        self.assertEqual(read_keys(self.folder), ())

    def test_rotation(self) -> None:
        """New keys are in the zone at once and sign after the wait; the old sign until then, are in the zone
        for a week more, and go with the rotation after that."""
        self.initial()
        made = rotate(self.folder, NOW, DAY)
        new = [key.selector for key in made]
        self.assertEqual(new, ["20270115-rsa", "20270115-ed25519"])
        self.assertEqual(len(key_records(self.folder)), 4)
        for now, wanted in (
            (NOW, ["mailftp", "mailftp-ed25519"]),
            (NOW + DAY - 1, ["mailftp", "mailftp-ed25519"]),
        ):
            self.assertEqual(self.signs(now), wanted)
        self.assertEqual(self.signs(NOW + DAY), new)
        self.assertEqual(self.signs(NOW + 1000 * DAY), new)
        later = NOW + DAY + GRACE
        rotate(self.folder, later - 1, DAY)
        self.assertEqual(len(key_records(self.folder)), 6)
        rotate(self.folder, later, DAY)
        self.assertNotIn("mailftp", key_records(self.folder))
        self.assertFalse((self.folder / "mailftp.pem").exists())
        states = json.loads((self.folder / "states.json").read_text())
        self.assertEqual(states.keys(), key_records(self.folder).keys())

    def test_one_algorithm(self) -> None:
        self.initial()
        (made,) = rotate(self.folder, NOW, 0.0, ["ed25519"])
        self.assertEqual(self.signs(NOW), ["mailftp", made.selector])

    def test_first_keys(self) -> None:
        """A domain that had none signs at once: there is nothing to wait for."""
        made = rotate(self.folder, NOW, DAY)
        self.assertEqual(self.signs(NOW), [key.selector for key in made])
        self.assertEqual([key.algorithm for key in made], ["rsa", "ed25519"])

    def test_twice_a_day(self) -> None:
        """The second one has another name, and one that never signed is left to its time."""
        self.initial()
        rotate(self.folder, NOW, DAY)
        (again, _) = rotate(self.folder, NOW + 60, DAY)
        self.assertEqual(again.selector, "20270115b-rsa")
        self.assertEqual(self.signs(NOW + DAY + 30)[0], "20270115-rsa")
        self.assertEqual(self.signs(NOW + DAY + 60)[0], "20270115b-rsa")
        # Somebody always signs.
        for minute in range(3000):
            self.assertEqual(len(signing(self.keys_once(), NOW + 60 * minute)), 2)

    def keys_once(self) -> tuple[Key, ...]:
        if not hasattr(self, "_keys"):
            self._keys = read_keys(self.folder)
        return self._keys

    def test_a_crash_in_between(self) -> None:
        """Wherever a rotation ends early, the keys that signed go on, and no other signs before its time."""
        write = dkim_folder._write
        for allowed in range(3):
            self.folder = Path(self.mktemp())
            self.initial()
            done: list[Path] = []

            def crash(
                file: Path, octets: bytes, flag: int, most: int = allowed, done: list[Path] = done
            ) -> None:
                if len(done) == most:
                    raise OSError(28, "No space left on device", str(file))
                done.append(file)
                write(file, octets, flag)

            self.patch(dkim_folder, "_write", crash)
            self.assertRaises(OSError, rotate, self.folder, NOW, DAY)
            self.patch(dkim_folder, "_write", write)
            self.assertEqual(self.signs(NOW), ["mailftp", "mailftp-ed25519"], allowed)
            self.assertIn(self.signs(NOW + DAY)[1], ("mailftp-ed25519", "20270115-ed25519"))
            rotate(self.folder, NOW + 10, DAY)
            self.assertEqual(self.signs(NOW + 10), ["mailftp", "mailftp-ed25519"])
            self.assertEqual(len(self.signs(NOW + DAY + 10)), 2)

    def test_by_hand(self) -> None:
        """A key that an operator puts there signs; of two the newest by name."""
        self.initial()
        make_key(self.folder / "n2027.pem", "rsa")
        self.assertEqual(self.signs(NOW), ["n2027", "mailftp-ed25519"])

    def test_what_is_no_key(self) -> None:
        self.initial()
        other = ec.generate_private_key(ec.SECP256R1())
        octets = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        for name, content, words in (
            ("a b.pem", b"", "no DKIM selector"),
            ("broken.pem", b"rubbish", "no private key"),
            ("curve.pem", octets, "RSA and Ed25519"),
        ):
            (self.folder / name).write_bytes(content)
            self.assertIn(words, str(self.assertRaises(KeyFault, read_keys, self.folder)))
            self.assertRaises(KeyFault, rotate, self.folder, NOW, DAY)
            (self.folder / name).unlink()
        for content in (b"{", b"[]", b'{"mailftp": {"since": "now", "until": null}}', b'{"mailftp": 1}'):
            (self.folder / "states.json").write_bytes(content)
            self.assertIn("states.json", str(self.assertRaises(KeyFault, read_keys, self.folder)))
