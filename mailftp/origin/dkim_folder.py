"""A domain's DKIM keys as they are kept, <selector>.pem in a folder, and when each of them signs.

A key made by a rotation stands in the zone at once and signs a while later, when every resolver can find it;
the one before it signs until then, and stays in the zone for what is still under way. `states.json` in the
folder has the times; a key that it does not name signs always.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from mailftp.origin.dkim_keys import SELECTOR, KeyFault, key_record

ALGORITHMS = ("rsa", "ed25519")
#: Seconds for which a key that signs no more stays in the zone: the longest that a message is under way, and
#: a day for caches on either side.
GRACE = 7 * 86400
_STATES = "states.json"
#: Octets of that file; a key takes 60.
_LARGEST = 64 * 1024

PrivateKey = RSAPrivateKey | Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Key:
    """Times are seconds since the epoch; None: from ever, for ever."""

    selector: str
    private: PrivateKey
    since: float | None = None
    until: float | None = None

    @property
    def algorithm(self) -> str:
        return "rsa" if isinstance(self.private, RSAPrivateKey) else "ed25519"

    @property
    def record(self) -> str:
        return key_record(self.private)

    def state(self, now: float) -> str:
        """ "waiting", "signing" or "retired"."""
        if self.since is not None and now < self.since:
            return "waiting"
        return "retired" if self.until is not None and now >= self.until else "signing"


def read_keys(folder: Path) -> tuple[Key, ...]:
    """By selector. Blocks on the disk. Raises KeyFault and OSError."""
    states = _read_states(folder)
    return tuple(
        Key(file.stem.lower(), _read_key(file), *states.get(file.stem.lower(), (None, None)))
        for file in sorted(folder.glob("*.pem"))
    )


def key_records(folder: Path) -> dict[str, str]:
    """Selector -> key record, of each key in the folder; {} where there is none. Raises as `read_keys`."""
    return {key.selector: key.record for key in read_keys(folder)}


def signing(keys: Iterable[Key], now: float) -> tuple[Key, ...]:
    """At most one of each algorithm: of several the one that has signed for the shortest time."""
    found: dict[str, Key] = {}
    for key in sorted(keys, key=lambda key: (key.since or 0.0, key.selector)):
        if key.state(now) == "signing":
            found[key.algorithm] = key
    return tuple(found[algorithm] for algorithm in ALGORITHMS if algorithm in found)


def rotate(folder: Path, now: float, wait: float, algorithms: Iterable[str] = ()) -> tuple[Key, ...]:
    """Make a key of each algorithm that signs from `now + wait`, when those that are there stop; what was
    retired GRACE ago is removed. Without `algorithms` those of the keys that are there, or both.

    Answers the new keys. Blocks on the disk. Raises KeyFault and OSError; what signs is then as before.
    """
    folder.mkdir(0o700, parents=True, exist_ok=True)
    keys = read_keys(folder)
    wanted = tuple(algorithms) or tuple(dict.fromkeys(key.algorithm for key in keys)) or ALGORITHMS
    signs_from = now + wait if keys else now
    selectors: dict[str, str] = {}
    for algorithm in ALGORITHMS:
        if algorithm in wanted:
            selectors[algorithm] = _new_selector(algorithm, now, [key.selector for key in keys])
    # Said before the keys are there: one that is found without its time would sign at once.
    states = {key.selector: (key.since, key.until) for key in keys}
    states |= dict.fromkeys(selectors.values(), (signs_from, None))
    _write_states(folder, states)
    made = tuple(
        Key(selector, make_key(folder / f"{selector}.pem", algorithm), signs_from)
        for algorithm, selector in selectors.items()
    )
    for key in keys:
        if key.algorithm in wanted:
            states[key.selector] = key.since, _sooner(key.until, signs_from)
    gone = [selector for selector, (_, until) in states.items() if until is not None and until + GRACE <= now]
    for selector in gone:
        del states[selector]
    # In this order a crash leaves a key that signs no more, and never one that signs again.
    for selector in gone:
        (folder / f"{selector}.pem").unlink()
    _write_states(folder, states)
    return made


def _sooner(one: float | None, other: float) -> float:
    return other if one is None else min(one, other)


def make_key(file: Path, algorithm: str) -> PrivateKey:
    """Make a key file, readable for its owner alone. Raises FileExistsError."""
    # RFC 8301 section 3.2: 2048 bits are what every verifier takes.
    key = generate_private_key(65537, 2048) if algorithm == "rsa" else Ed25519PrivateKey.generate()
    octets = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(file, octets, os.O_EXCL)
    return key


def _new_selector(algorithm: str, now: float, taken: list[str]) -> str:
    """Its day, so that an operator who reads a header knows the age of the key."""
    day = time.strftime("%Y%m%d", time.gmtime(now))
    for letter in ("", *"bcdefghijklmnopqrstuvwxyz"):
        selector = f"{day}{letter}-{algorithm}"
        if selector not in taken:
            return selector
    raise KeyFault("26 keys were made today: wait until tomorrow")


def _read_key(file: Path) -> PrivateKey:
    if SELECTOR.fullmatch(file.stem) is None:
        raise KeyFault(f"{file}: its name is no DKIM selector (letters, digits and hyphens)")
    try:
        key = load_pem_private_key(file.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyFault(f"{file} is no private key without a passphrase, PEM") from None
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        raise KeyFault(f"{file}: DKIM knows RSA and Ed25519 keys")
    return key


def _read_states(folder: Path) -> Mapping[str, tuple[float | None, float | None]]:
    file = folder / _STATES
    try:
        with file.open("rb") as stream:
            given = json.loads(stream.read(_LARGEST))
        return {
            str(selector): (_time(times["since"]), _time(times["until"])) for selector, times in given.items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise KeyFault(f"{file} cannot be read: mend it, or remove it and every key there signs") from None


def _time(given: object) -> float | None:
    if given is not None and not isinstance(given, int | float):
        raise TypeError
    return given


def _write_states(folder: Path, states: Mapping[str, tuple[float | None, float | None]]) -> None:
    given = {
        selector: {"since": since, "until": until}
        for selector, (since, until) in states.items()
        if since is not None or until is not None
    }
    new = folder / f".{_STATES}.new"
    _write(new, json.dumps(given, indent=1).encode() + b"\n", os.O_TRUNC)
    os.replace(new, folder / _STATES)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(file: Path, octets: bytes, flag: int) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flag, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(octets)
        stream.flush()
        os.fsync(descriptor)
