"""What the checks found, and the one Authentication-Results field that says it (RFC 8601)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from mailftp.message.fields import iter_fields, value
from mailftp.message.parameters import skip_comment
from mailftp.message.trace import fold, one_line

NAME = "Authentication-Results"
#: Characters of a reason: what a far side's record or key had wrong goes in there.
REASON = 120
#: Octets in which a field has to say whose it is, comments before it included.
AUTHOR = 1000

_TOKEN = re.compile(r"[A-Za-z0-9.!#$%&'*+^_`{|}~/-]+\Z")
#: The value of a property may be an address without quotes (section 2.2, pvalue).
_PVALUE = re.compile(r"[A-Za-z0-9.!#$%&'*+^_`{|}~@/-]+\Z")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ID = re.compile(rb"[^\s;()\"]++")
_BLANK = re.compile(rb"[ \t\r\n]++")
_METHOD = re.compile(rb"(?:^|;)\s*([a-z]+)=([a-z]+)")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one method (section 2.7) found."""

    #: "spf", "dkim", "dmarc" or "iprev".
    method: str
    #: "pass", "fail", "none", "temperror"... by the method's own section.
    result: str
    reason: str = ""
    #: ("smtp.mailfrom", "e.test") and the like.
    properties: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """For the log: "spf=pass"."""
        return f"{self.method}={self.result}"


def results_field(authserv_id: str, findings: Iterable[Finding]) -> bytes:
    """The field, folded, with its CRLF. Without findings it says that nothing was checked (section 2.2)."""
    return _results_field(authserv_id, tuple(findings))


@lru_cache(maxsize=512)
def _results_field(authserv_id: str, findings: tuple[Finding, ...]) -> bytes:
    # The same correspondents come again and again, and with them the same results.
    tokens = [authserv_id]
    for finding in findings:
        tokens[-1] += ";"
        tokens.append(str(finding))
        if finding.reason:
            tokens.append(f"reason={_quoted(finding.reason[:REASON])}")
        tokens += [
            f"{name}={text if _PVALUE.match(text) else _quoted(text)}" for name, text in finding.properties
        ]
    if len(tokens) == 1:
        tokens = [f"{authserv_id};", "none"]
    return fold(NAME, tokens)


def _quoted(text: str) -> str:
    text = one_line(text, 300)
    return text if _TOKEN.match(text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def without_forged(header: bytes, authserv_id: str) -> bytes:
    """`header` without the fields that claim to be of `authserv_id` (section 5), or whose author cannot be
    told: a reader may believe those."""
    if b"authentication-results" not in header.lower():
        return header
    wanted = authserv_id.lower().encode()
    kept, at = [], 0
    for field in iter_fields(header):
        if field.name == b"authentication-results" and _author(value(header, field)) in (None, wanted):
            kept.append(header[at : field.start])
            at = field.end
    kept.append(header[at:])
    return b"".join(kept)


def _author(text: bytes) -> bytes | None:
    """The authserv-id of a field's value, lower case; None where there is none to be read."""
    at, text = 0, text[:AUTHOR]
    while at < len(text):
        blank = _BLANK.match(text, at)
        if blank is not None:
            at = blank.end()
        elif text[at : at + 1] == b"(":
            at = skip_comment(text, at)[0]
        else:
            break
    quoted = _QUOTED.match(text, at)
    if quoted is not None:
        return re.sub(rb"\\(.)", rb"\1", quoted[1]).lower()
    plain = _ID.match(text, at)
    return plain[0].lower().rstrip(b".") if plain is not None else None


def read_results(prefix: bytes, authserv_id: str) -> dict[str, str]:
    """Method -> result, as `results_field` wrote them on top of a message of ours; the first of each method.

    `prefix` is what we keep beside the body, so nobody else wrote in it.
    """
    wanted = authserv_id.lower().encode()
    for field in iter_fields(prefix):
        text = value(prefix, field) if field.name == b"authentication-results" else b""
        if text and _author(text) == wanted:
            found: dict[str, str] = {}
            bare = _QUOTED.sub(b"", text.replace(b"\t", b" "))
            for method, result in _METHOD.findall(bare):
                found.setdefault(method.decode(), result.decode())
            return found
    return {}
