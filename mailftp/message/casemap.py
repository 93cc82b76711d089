"""i;unicode-casemap, by which IMAP and JMAP compare text: RFC 5051."""

from __future__ import annotations

import unicodedata

#: Characters that are remembered: of a language a few hundred are in use, and nobody fills the memory.
_MOST = 20_000


class _Map(dict[int, str]):
    def __missing__(self, code: int) -> str:
        character = chr(code)
        title = character.title()
        # RFC 5051 section 2: the simple mapping, which is of one character.
        mapped = unicodedata.normalize("NFKD", title if len(title) == 1 else character)
        if len(self) < _MOST:
            self[code] = mapped
        return mapped


_MAP = _Map()


def casemap(text: str) -> bytes:
    """Titlecase and decomposed, as UTF-8: what is equal, or within the other, is so octet by octet. `text`
    has no halves of surrogate pairs (mailftp.message.words takes them away)."""
    if text.isascii():
        return text.upper().encode("ascii")
    return text.translate(_MAP).encode("utf-8")
