"""Comparing a message that arrived with the one that was sent."""

from __future__ import annotations

import re

#: What a server of ours puts above a message.
TRACE = (
    b"return-path:",
    b"delivered-to:",
    b"received:",
    b"authentication-results:",
    b"dkim-signature:",
    b"authentication-results:",
)
_FIELD = re.compile(rb"[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")


def below_trace(message: bytes, servers: tuple[str, ...]) -> bytes:
    """The message below the last Received field that one of these servers put on top of it.

    Trace fields that the message brought along, Return-Path included, stay.
    """
    position = below = 0
    while (field := _FIELD.match(message, position)) and field[0].lower().startswith(TRACE):
        position = field.end()
        if field[0].lower().startswith(b"received:") and any(
            b"by " + name.encode() in field[0] for name in servers
        ):
            below = position
    return message[below:]


def submitted(message: bytes, original: bytes) -> bytes:
    """`message` less the Date and Message-ID fields that submission adds where `original` has none."""
    had, header, rest = original.partition(b"\r\n\r\n")[0], *_split(message)
    for name in (b"date:", b"message-id:"):
        if re.search(rb"(?im)^" + name, had):
            continue
        for field in _FIELD.finditer(header):
            if field[0].lower().startswith(name):
                header = header[: field.start()] + header[field.end() :]
                break
    return header + rest


def _split(message: bytes) -> tuple[bytes, bytes]:
    """The header section with its last CRLF, and the rest from the blank line on."""
    end = 0
    while (field := _FIELD.match(message, end)) and field[0] != b"\r\n":
        end = field.end()
    return message[:end], message[end:]


def without_bcc(message: bytes) -> bytes:
    """What submission makes of a message's header: no Bcc field."""
    header, rest = _split(message)
    kept = [field[0] for field in _FIELD.finditer(header) if not field[0].lower().startswith(b"bcc:")]
    return b"".join(kept) + rest
