"""Keywords and IMAP's flags: RFC 8621 section 4.1.1."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mailftp.web.jmap.faults import MethodError

_SYSTEM = {"$draft": "\\Draft", "$seen": "\\Seen", "$flagged": "\\Flagged", "$answered": "\\Answered"}
_KEYWORDS = {flag.lower(): keyword for keyword, flag in _SYSTEM.items()}
#: IMAP's, which no keyword is.
_NONE = frozenset({"\\deleted", "\\recent"})

#: 1 to 255 characters that an IMAP atom may have.
KEYWORD = re.compile(r"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]{1,255}")


def keyword_of(flag: str) -> str | None:
    """In lower case; None for what is none in JMAP."""
    lower = flag.lower()
    if lower in _NONE:
        return None
    return _KEYWORDS.get(lower, None if lower.startswith("\\") else lower)


def flag_of(keyword: str) -> str:
    return _SYSTEM.get(keyword.lower(), keyword)


def keywords_of(flags: Iterable[str]) -> dict[str, bool]:
    found = (keyword_of(flag) for flag in flags)
    return dict.fromkeys(sorted(each for each in found if each is not None), True)


def check_keyword(text: str) -> str:
    """In lower case. Raises MethodError."""
    if KEYWORD.fullmatch(text) is None:
        raise MethodError("invalidArguments", "a keyword has 1 to 255 characters of those that IMAP takes")
    return text.lower()
