"""What a domain says of the TLS of its mail hosts, in a record and a file (RFC 8461 section 3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

#: Section 3.2: seconds that a policy may be kept, at most a year.
LONGEST = 31_557_600
#: Patterns of a policy that are kept.
PATTERNS = 256

_ID = re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII)
_AGE = re.compile(r"[0-9]{1,10}", re.ASCII)
_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_PATTERN = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL}){{0,126}}", re.ASCII)


class PolicyFault(ValueError):
    """It is no policy; the text says why."""


@dataclass(frozen=True, slots=True)
class Policy:
    #: "enforce", "testing" or "none".
    mode: str
    #: Lower case; "*.example.org" for one label.
    hosts: tuple[str, ...]
    #: Seconds that it may be kept.
    max_age: int

    def allows(self, host: str) -> bool:
        """Section 4.1."""
        host = host.lower().rstrip(".")
        above = host.partition(".")[2]
        return any(
            pattern == host or (pattern[:2] == "*." and above == pattern[2:]) for pattern in self.hosts
        )


def record_id(texts: Iterable[str]) -> str | None:
    """The id in the TXT records at "_mta-sts" (section 3.1): None when there is none, or more than one, or
    it is broken."""
    found = [text for text in texts if re.match(r"v=STSv1[ \t]*;", text)]
    if len(found) != 1:
        return None
    for part in found[0].split(";")[1:]:
        name, equals, value = part.partition("=")
        if name.strip() == "id" and equals:
            return value.strip() if _ID.fullmatch(value.strip()) else None
    return None


def parse_policy(text: str) -> Policy:
    """Section 3.2: keys and values on lines; what is not known is passed over, and of a key that is there
    twice the first counts, but for "mx". Raises PolicyFault."""
    values: dict[str, str] = {}
    hosts: list[str] = []
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not colon:
            if line.strip():
                raise PolicyFault("a line without a colon")
        elif name == "mx":
            hosts.append(value.lower().rstrip("."))
        else:
            values.setdefault(name, value)
    if values.get("version") != "STSv1":
        raise PolicyFault("its version is not STSv1")
    mode, age = values.get("mode", ""), values.get("max_age", "")
    if mode not in ("enforce", "testing", "none"):
        raise PolicyFault("its mode is none of enforce, testing and none")
    if not _AGE.fullmatch(age):
        raise PolicyFault("its max_age is no number")
    if len(hosts) > PATTERNS or not all(map(_PATTERN.fullmatch, hosts)):
        raise PolicyFault("an mx of it is no name of a host")
    if not hosts and mode != "none":
        raise PolicyFault("it names no mx")
    return Policy(mode, tuple(hosts), min(int(age), LONGEST))
