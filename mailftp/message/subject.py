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
    return _extract(value)[0]


def is_reply(value: bytes) -> bool:
    """Whether a Subject's value says that the message is a reply or forwarded (RFC 5256 section 2.1)."""
    return _extract(value)[1]


def _extract(value: bytes) -> tuple[str, bool]:
    text = _SPACES.sub(" ", decode_words(value[:_MOST])).strip(" ")
    reply = False
    while True:
        text, trailed = _strip_trailer(text)
        text, led = _strip_leader(text)
        reply = reply or trailed or led
        if text[:5].lower() == "[fwd:" and text.endswith("]"):
            text = text[5:-1]
            reply = True
            continue
        return text, reply


def _strip_trailer(text: str) -> tuple[str, bool]:
    """What is left, and whether a "(fwd)" was taken away."""
    forwarded = False
    while True:
        stripped = text.rstrip(" ")
        if stripped[-5:].lower() == "(fwd)":
            stripped = stripped[:-5]
            forwarded = True
        if stripped == text:
            return text, forwarded
        text = stripped


def _strip_leader(text: str) -> tuple[str, bool]:
    """What is left, and whether a "Re:" was taken away. An offset moves on and the text is cut once, so
    that a thousand "Re:" cost a thousand steps."""
    at = 0
    reply = False
    while True:
        leader = _LEADER.match(text, at)
        if leader:
            at = leader.end()
            reply = reply or leader[0].endswith(":")
            continue
        blob = _BLOB.match(text, at)
        if blob and blob.end() < len(text):
            at = blob.end()
            continue
        return text[at:], reply
