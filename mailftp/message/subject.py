"""The base subject, by which messages are sorted and threaded: RFC 5256 section 2.1."""

from __future__ import annotations

import re

from mailftp.message.words import decode_words

#: Octets of a Subject that are looked at.
_MOST = 4096
_SPACES = re.compile(r"[ \t\r\n]+")
#: subj-leader: any number of blobs, then re, fw or fwd, perhaps a blob, and the colon; or space.
_LEADER = re.compile(r"(?:\[[^\[\]]*+\] *+)*+(?:re|fwd?) *+(?:\[[^\[\]]*+\] *+)?+:| ++", re.IGNORECASE)
_BLOB = re.compile(r"\[[^\[\]]*+\] *+")


def base_subject(value: bytes) -> str:
    """Of a Subject's unfolded value, without "Re:", "[list]", "(fwd)" and their like. In its own case:
    who compares applies i;unicode-casemap (RFC 5256 section 2.1)."""
    text = _SPACES.sub(" ", decode_words(value[:_MOST])).strip(" ")
    while True:
        text = _strip_trailer(text)
        text = _strip_leader(text)
        if text[:5].lower() == "[fwd:" and text.endswith("]"):
            text = text[5:-1]
            continue
        return text


def _strip_trailer(text: str) -> str:
    while True:
        stripped = text.rstrip(" ")
        if stripped[-5:].lower() == "(fwd)":
            stripped = stripped[:-5]
        if stripped == text:
            return text
        text = stripped


def _strip_leader(text: str) -> str:
    """An offset moves on and the text is cut once, so that a thousand "Re:" cost a thousand steps."""
    at = 0
    while True:
        leader = _LEADER.match(text, at)
        if leader:
            at = leader.end()
            continue
        blob = _BLOB.match(text, at)
        if blob and blob.end() < len(text):
            at = blob.end()
            continue
        return text[at:]
