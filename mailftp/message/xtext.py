"""Text inside SMTP parameters and report fields: xtext of RFC 3461 section 4, and the two forms that RFC 6533
section 3 gives an address in UTF-8. Pure functions."""

from __future__ import annotations

import re

#: xtext whose encoded octets are printable too: whatever else is in there would end a line somewhere.
XTEXT = r"(?:[!-*,-<>-~]|\+(?:[2-6][0-9A-F]|7[0-9A-E]))"
#: The same with the octets of UTF-8 in it, as Postfix says an address beyond ASCII of the type "rfc822".
XTEXT_OCTETS = r"(?:[!-*,-<>-~]|\+(?:[2-6][0-9A-F]|7[0-9A-E]|[89A-F][0-9A-F]))"
_HEX = re.compile(r"\+([0-9A-F]{2})")
#: RFC 6533's EmbeddedUnicodeChar, and what stands for itself in utf-8-addr-xtext (and, beyond ASCII, in
#: utf-8-addr-unitext).
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")
UTF8_ADDRESS = r"(?:[!-*,-<>-\[\]-~\u00a0-\ud7ff\ue000-\U0010ffff]|\\x\{[0-9A-F]{2,6}\})"


def encode_xtext(text: str) -> str:
    """`text` is ASCII."""
    return "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in text)


def decode_xtext(text: str) -> str:
    """`text` matches XTEXT from end to end."""
    return _HEX.sub(lambda found: chr(int(found[1], 16)), text)


def decode_xtext_octets(text: str) -> str:
    """`text` matches XTEXT_OCTETS from end to end. Raises ValueError for what is not UTF-8, or is a control
    character."""
    try:
        decoded = _HEX.sub(lambda found: chr(int(found[1], 16)), text).encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("the address is not UTF-8") from None
    if not decoded.isprintable():
        raise ValueError("the address holds what cannot be printed")
    return decoded


def encode_utf8_address(text: str) -> str:
    """utf-8-addr-xtext: an address beyond ASCII in ASCII, as `\\x{E9}`."""
    return "".join(c if "!" <= c <= "~" and c not in "+=\\" else f"\\x{{{ord(c):02X}}}" for c in text)


def decode_utf8_address(text: str) -> str:
    """`text` matches UTF8_ADDRESS from end to end. Raises ValueError for what is no character, and for a
    control character, which would end a line of a report."""
    decoded = _EMBEDDED.sub(lambda found: _character(int(found[1], 16)), text)
    if not decoded.isprintable():
        raise ValueError("the address holds what cannot be printed")
    return decoded


def _character(point: int) -> str:
    if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
        raise ValueError(f"U+{point:04X} is no character")
    return chr(point)
