"""Whether what the DNS says of a mail domain is what the server needs it to say. Pure functions."""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mailftp.dns.mail_zone import Wanted

_TAG = re.compile(r"\s*([A-Za-z]{1,20})\s*=\s*([^;]*?)\s*(?:;|\Z)", re.ASCII)


class Status(enum.Enum):
    RIGHT = "right"
    MISSING = "missing"
    WRONG = "wrong"
    #: Nobody could be asked.
    UNKNOWN = "unknown"
    #: It cannot be looked at from here.
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one check. `name` without the last dot."""

    status: Status
    name: str
    kind: str
    why: str
    #: What is there, as a zone file has it.
    found: tuple[str, ...] = ()
    #: What is the matter, in words.
    note: str = ""
    #: Lines to put into the zone, in place of what is there where that is wrong.
    add: tuple[str, ...] = ()
    #: Mail works all the same.
    optional: bool = False

    @property
    def bad(self) -> bool:
        return not self.optional and self.status in (Status.MISSING, Status.WRONG, Status.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Group:
    """The wanted records of one name and type that are for one thing."""

    wanted: tuple[Wanted, ...]

    @property
    def name(self) -> str:
        return self.wanted[0].name.removesuffix(".")

    @property
    def kind(self) -> str:
        return self.wanted[0].kind

    @property
    def sort(self) -> str:
        """Of a TXT record how it begins, "v=spf1"."""
        return _version(unquoted(self.wanted[0].data)) if self.kind == "TXT" else ""

    def compare(self, found: Sequence[str]) -> Finding:
        """`found` are the records of this name and type, texts as a zone file has them (TXT without quotes).
        SPF is only looked at as text here."""
        judge = {"TXT": self._text, "MX": self._mx, "SRV": self._srv, "CAA": self._caa, "NS": self._ns}
        mine = [text for text in found if self.kind != "TXT" or _version(text) == self.sort]
        if not mine:
            return self.finding(Status.MISSING, note="it is not there")
        words = judge.get(self.kind, self._set)(mine)
        return self.finding(Status.WRONG if words else Status.RIGHT, mine, words)

    def finding(self, status: Status, found: Sequence[str] = (), note: str = "") -> Finding:
        first = self.wanted[0]
        lines = tuple(record.line for record in self.wanted)
        add = lines if status in (Status.MISSING, Status.WRONG) else ()
        return Finding(status, self.name, self.kind, first.why, tuple(found), note, add, first.optional)

    # What is wrong, in words; "" where nothing is.

    def _set(self, found: Sequence[str]) -> str:
        wanted = {record.data.lower() for record in self.wanted}
        there = {text.lower() for text in found}
        if wanted - there:
            return f"{', '.join(sorted(wanted - there))} is not there"
        more = ", ".join(sorted(there - wanted))
        return f"{more} is there too, and is not of this server" if more else ""

    def _ns(self, found: Sequence[str]) -> str:
        missing = {record.data.lower() for record in self.wanted} - {text.lower() for text in found}
        return f"{', '.join(sorted(missing))} is not there" if missing else ""

    def _mx(self, found: Sequence[str]) -> str:
        host = self.wanted[0].data.partition(" ")[2].lower()
        targets = [text.lower().partition(" ")[2] for text in found]
        return "" if host in targets else f"mail goes to {', '.join(targets)} and not to {host}"

    def _srv(self, found: Sequence[str]) -> str:
        # Priority and weight are the operator's; the port and the host are what has to be right.
        wanted = {tuple(record.data.lower().split()[2:]) for record in self.wanted}
        if any(target == "." for _, target in wanted):
            wanted = {(text.split()[2], ".") for text in found if text.split()[3] == "."} or wanted
        there = {tuple(text.lower().split()[2:]) for text in found}
        return "" if wanted <= there else f"it says port {' at '.join(sorted(there)[0])}"

    def _caa(self, found: Sequence[str]) -> str:
        issuers = [record.data for record in self.wanted if " issue " in record.data]
        allowed = [text for text in found if " issue " in text]
        missing = [issuer for issuer in issuers if issuer not in allowed]
        return f"{', '.join(missing)} may not issue certificates" if missing and allowed else ""

    def _text(self, found: Sequence[str]) -> str:
        if len(found) > 1 and self.sort != "v=dkim1":
            return f"there are {len(found)} of them, and then none counts"
        wanted = unquoted(self.wanted[0].data)
        if self.sort == "v=dkim1":
            key = _tags(wanted)["p"]
            same = [text for text in found if "".join(_tags(text).get("p", "").split()) == key]
            return "" if same else "it has another key"
        if self.sort == "v=dmarc1":
            return (
                "" if _tags(found[0]).get("p") in ("none", "quarantine", "reject") else "it has no policy, p="
            )
        if self.sort == "v=stsv1":
            return "" if _tags(found[0]).get("id") else "it has no id="
        if self.sort == "v=tlsrptv1":
            return "" if _tags(found[0]).get("rua") else "it has no rua="
        return "" if found[0].split() == wanted.split() else "it says something else"


def groups(wanted: Sequence[Wanted]) -> list[Group]:
    """The records put together that are looked at together."""
    found: dict[tuple[str, str, str], list[Wanted]] = {}
    for record in wanted:
        sort = _version(unquoted(record.data)) if record.kind == "TXT" else ""
        # Mandatory and optional ones are different matters.
        found.setdefault((record.name, record.kind, sort), []).append(record)
    return [Group(tuple(records)) for records in found.values()]


def unquoted(data: str) -> str:
    """The text of a TXT record as a zone file has it."""
    pieces = re.findall(r'"((?:[^"\\]|\\.)*)"', data)
    return re.sub(r"\\(.)", r"\1", "".join(pieces))


def _version(text: str) -> str:
    """ "v=spf1", "v=dkim1": the first word in lower case; a DKIM record may leave it out."""
    first = re.split(r"[;\s]", text.strip(), maxsplit=1)[0].lower()
    if first.startswith(("k=", "p=", "t=", "s=", "h=", "n=")) and "p=" in text:
        return "v=dkim1"
    return first.replace(" ", "")


def _tags(text: str) -> dict[str, str]:
    return {name.lower(): value for name, value in _TAG.findall(text)}
