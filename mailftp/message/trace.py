"""Trace fields (RFC 5321 section 4.4): what this server writes above a message that it takes.

What goes in comes from the far side (a HELO name, an address), so nothing of it may end a line, a
comment or the field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from mailftp.message.dates import format_date

#: RFC 5322 section 2.1.1, without the CRLF.
LINE_WIDTH = 78
#: The longest token that is let through: a line may not pass 998 octets.
_TOKEN = 900
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
#: What a domain or an address literal has; RFC 5321 section 4.1.2.
_NOT_IN_DOMAIN = re.compile(r"[^A-Za-z0-9._:\[\]-]")
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9.!#$%&'*+/=?^_`{|}~@-]")
#: What a mailto URL holds as it is (RFC 6068 section 2).
_IN_URL = re.compile(r"[A-Za-z0-9.!$'*+_~-]{1,64}@[A-Za-z0-9.-]{1,255}")
_NOT_IN_COMMENT = re.compile(r"[()\\]")


def one_line(text: str, most: int = _TOKEN) -> str:
    """`text` without anything that could end a line: control characters become spaces, and what is
    beyond `most` octets of UTF-8 is cut off."""
    text = _CONTROL.sub(" ", text[:most])
    return text if text.isascii() else text.encode()[:most].decode("utf-8", "ignore")


def fold(name: str, tokens: Iterable[str], indent: str = "\t") -> bytes:
    """A field whose tokens are spread over lines of at most 78 characters (RFC 5322 section 2.2.3)
    and end with CRLF. A token that is longer has a line of its own; none may hold CR or LF."""
    return _folded([f"{name}:"], tokens, indent)


def _folded(lines: list[str], tokens: Iterable[str], indent: str = "\t") -> bytes:
    return ("\r\n".join(_fold(lines, tokens, indent)) + "\r\n").encode()


def _fold(lines: list[str], tokens: Iterable[str], indent: str = "\t") -> list[str]:
    """`lines`, of which the first begins with a name, with tokens behind them."""
    for token in tokens:
        last = lines[-1]
        if len(last) + 1 + len(token) > LINE_WIDTH and (len(lines) > 1 or not last.endswith(":")):
            lines.append(indent + token)
        else:
            lines[-1] = f"{last} {token}"
    return lines


def received(
    *,
    from_helo: str,
    peer: str,
    by: str,
    with_protocol: str,
    id: str,
    for_: str,
    tls: str,
    when: float,
) -> bytes:
    """A Received field, folded, with its CRLF.

    `peer` is an address literal, `[192.0.2.1]` or `[IPv6:2001:db8::1]`; `with_protocol` one of RFC 3848's
    ("ESMTPSA"); `for_` the one recipient's address, or "" (more than one would tell a Bcc); `tls` goes
    in a comment, or "".
    """
    # A client that brings many messages differs from one to the next in what follows the head alone.
    lines = list(_received_head(from_helo, peer, by, with_protocol, tls))
    tokens = ["id", _NOT_IN_ID.sub("?", id[:200])] if id else []
    if for_:
        tokens += ["for", _path(for_)]
    if tokens:
        tokens[-1] += ";"
    else:
        lines[-1] += ";"
    # One token, so that no fold falls inside the date: some readers take the last line for it.
    tokens.append(format_date(when))
    return _folded(lines, tokens)


@lru_cache(maxsize=1024)
def _received_head(from_helo: str, peer: str, by: str, with_protocol: str, tls: str) -> tuple[str, ...]:
    """The lines of a Received field that say between whom and how."""
    tokens = ["from", _domain(from_helo), f"({_domain(peer)})", "by", _domain(by)]
    tokens += ["with", _NOT_IN_ID.sub("?", with_protocol[:40]) or "SMTP"]
    if tls:
        tokens.append(f"({_NOT_IN_COMMENT.sub('?', one_line(tls, 60))})")
    return tuple(_fold(["Received:"], tokens))


@lru_cache(maxsize=1024)
def return_path(address: str) -> bytes:
    """The Return-Path field of final delivery; "" is the null reverse-path (RFC 5321 section 4.4)."""
    return fold("Return-Path", [_path(address)])


@lru_cache(maxsize=1024)
def delivered_to(address: str) -> bytes:
    """The Delivered-To field, by which a forwarding loop is seen (RFC 9228)."""
    return fold("Delivered-To", [one_line(address).strip()])


def list_fields(address: str, owner: str) -> bytes:
    """What a list's mail says of it: List-Id (RFC 2919 section 3), List-Post and List-Owner (RFC 2369 section
    3). Addresses that a URL cannot hold as they are are left out."""
    local, _, domain = address.rpartition("@")
    name = _NOT_IN_DOMAIN.sub("-", local) + "." + domain
    fields = [fold("List-Id", [f"<{name}>"])]
    for field, target in (("List-Post", address), ("List-Owner", owner)):
        if _IN_URL.fullmatch(target):
            fields.append(fold(field, [f"<mailto:{target}>"]))
    return b"".join(fields)


def _domain(text: str) -> str:
    return _NOT_IN_DOMAIN.sub("?", text[:255]) or "unknown"


def _path(address: str) -> str:
    return f"<{one_line(address)}>"
