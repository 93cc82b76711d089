"""Header fields made from values, for messages that are composed here: RFC 5322 section 3, RFC 2047, RFC
2231.

Whatever text a client gives becomes the value of one field and nothing else: a line end in it, which would
begin a field of the attacker's, is refused, and each line that is made begins with its field's name or a
space.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence

#: RFC 5322 section 2.1.1: what a line should have, and must not have more than.
_LINE, _LONGEST = 76, 998
#: Characters of an encoded-word: RFC 2047 section 2 has 75 in a line of 76, with the field's name in the
#: first.
_WORD = 60
#: Octets of one field that is composed.
FIELD_OCTETS = 64 * 1024

_NAME = re.compile(r"[!-9;-~]{1,76}")
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
# What would end the field, or make a reader take what follows for something else.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
_MESSAGE_ID = re.compile(r"[!-;=?-~]{1,900}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,200}")


class FieldFault(ValueError):
    """A value that can be no field's; its text is for people."""


def check_name(name: str) -> str:
    """RFC 5322 section 3.6.8. Raises FieldFault."""
    if _NAME.fullmatch(name) is None:
        raise FieldFault("that is no name of a header field")
    return name


def check_text(text: str) -> str:
    """Raises FieldFault for line ends and other control characters."""
    if _CONTROL.search(text):
        raise FieldFault("a header field has no line ends and no control characters")
    if len(text) > FIELD_OCTETS:
        raise FieldFault(f"a header field has at most {FIELD_OCTETS} characters")
    return text


def _field(name: str, words: Iterable[str]) -> bytes:
    """Words that may be parted at the space between them. Raises FieldFault."""
    lines = [f"{check_name(name)}:"]
    for word in words:
        # An empty line would end the header: there is always a word.
        if len(lines[-1].encode()) + 1 + len(word.encode()) > _LINE and lines[-1].strip(" ") not in (
            "",
            f"{name}:",
        ):
            lines.append("")
        lines[-1] += f" {word}"
    for line in lines:
        if len(line.encode()) > _LONGEST:
            raise FieldFault(f"a line of {name} is longer than {_LONGEST} octets")
    return "\r\n".join(lines).encode() + b"\r\n"


def raw_field(name: str, value: str) -> bytes:
    """RFC 8621 section 4.1.2.1: as it is, in lines where it has spaces. Raises FieldFault."""
    return _field(name, check_text(value).replace("\t", " ").split())


def text_field(name: str, value: str) -> bytes:
    """RFC 8621 section 4.1.2.2. Raises FieldFault."""
    check_text(value)
    words = value.split()
    plain = value.isascii() and "=?" not in value and all(len(word) < 200 for word in words)
    if plain and " ".join(words) == value.strip():
        return _field(name, words)
    return _field(name, encoded_words(value))


def encoded_words(text: str) -> list[str]:
    """RFC 2047, in base64 of UTF-8; no character is cut."""
    words: list[str] = []
    piece = b""
    # "=?utf-8?b?" and "?=" are 12 characters.
    most = (_WORD - 12) // 4 * 3
    for character in text:
        octets = character.encode()
        if len(piece) + len(octets) > most:
            words.append(_encoded_word(piece))
            piece = b""
        piece += octets
    if piece:
        words.append(_encoded_word(piece))
    return words


def _encoded_word(octets: bytes) -> str:
    return f"=?utf-8?b?{b64encode(octets).decode()}?="


def _phrase(text: str) -> list[str]:
    """A display name (RFC 5322 section 3.2.5)."""
    check_text(text)
    if _ATOM.fullmatch(text) and "=?" not in text:
        return text.split(" ")
    if text.isascii() and "=?" not in text and len(text) < 60:
        return ['"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"']
    return encoded_words(text)


def _mailbox(name: str | None, email: str) -> list[str]:
    check_text(email)
    if any(each in email for each in '<>,;"\\()') or not email or email != email.strip() or " " in email:
        raise FieldFault(f"{email[:100]!r} is no address")
    if not name:
        return [email]
    return [*_phrase(name), f"<{email}>"]


def addresses_field(
    name: str, groups: Sequence[tuple[str | None, Sequence[tuple[str | None, str]]]]
) -> bytes:
    """RFC 8621 sections 4.1.2.3 and 4.1.2.4: (group's name or None, (name, address) of each). A draft's
    address may still be half an address. Raises FieldFault."""
    words: list[str] = []
    for group, members in groups:
        if group is not None:
            label = _phrase(group) or ['""']
            words += [*label[:-1], label[-1] + ":"]
        for at, (shown, email) in enumerate(members):
            made = _mailbox(shown, email)
            if at + 1 < len(members):
                made[-1] += ","
            words += made
        if group is not None:
            words += [";"]
        if words:
            words[-1] = words[-1].removesuffix(",") + ","
    if not words:
        # Nobody is no list of addresses (RFC 5322 section 3.4).
        return b""
    words[-1] = words[-1].removesuffix(",")
    return _field(name, words)


def message_ids_field(name: str, ids: Sequence[str]) -> bytes:
    """RFC 8621 section 4.1.2.5. Raises FieldFault."""
    for each in ids:
        if _MESSAGE_ID.fullmatch(each) is None:
            raise FieldFault(f"{each[:100]!r} is no message id")
    return _field(name, [f"<{each}>" for each in ids])


def urls_field(name: str, urls: Sequence[str]) -> bytes:
    """RFC 8621 section 4.1.2.7. Raises FieldFault."""
    for each in urls:
        if not each.isascii() or any(character in each for character in " <>,") or check_text(each) != each:
            raise FieldFault("a URL has no spaces and none of <>,")
    words = [f"<{each}>," for each in urls]
    return _field(name, [*words[:-1], words[-1].removesuffix(",")] if words else [])


def structured(name: str, value: str, parameters: Sequence[tuple[str, str]] = ()) -> bytes:
    """A token with parameters, as Content-Type is: RFC 2045 section 5.1, RFC 2231 for what is not ASCII.
    Raises FieldFault."""
    check_text(value)
    words = [value]
    for key, given in parameters:
        check_text(given)
        words[-1] += ";"
        if _TOKEN.fullmatch(given) and len(given) < 60:
            words.append(f"{key}={given}")
        elif given.isascii() and len(given) < 60:
            quoted = given.replace("\\", "\\\\").replace('"', '\\"')
            words.append(f'{key}="{quoted}"')
        else:
            words += _extended(key, given)
    return _field(name, words)


def _extended(key: str, value: str) -> list[str]:
    """RFC 2231 sections 3 and 4: pieces of percent-encoded UTF-8."""
    pieces, piece = [], "utf-8''"
    for octet in value.encode():
        character = chr(octet)
        coded = character if character.isalnum() and octet < 128 or character in "-._~" else f"%{octet:02X}"
        if len(piece) + len(coded) > 50:
            pieces.append(piece)
            piece = ""
        piece += coded
    pieces.append(piece)
    if len(pieces) == 1:
        return [f"{key}*={pieces[0]}"]
    last = len(pieces) - 1
    return [f"{key}*{at}*={each}{';' if at < last else ''}" for at, each in enumerate(pieces)]


def is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None
