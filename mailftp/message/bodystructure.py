"""IMAP's BODY and BODYSTRUCTURE: RFC 3501 section 7.4.2 (RFC 9051 section 7.5.2 takes the same)."""

from __future__ import annotations

import re

from mailftp.message.envelope import Budget, envelope, text_of
from mailftp.message.imap_strings import nstring, string
from mailftp.message.mime import Kind, Node
from mailftp.message.parameters import Parameters, parse_disposition, parse_token, skip_cfws

_DEFAULT_CHARSET = b'"charset" "us-ascii"'
#: A multipart must have a part; one that has none is shown with an empty one.
_EMPTY_BODY = b'("text" "plain" (' + _DEFAULT_CHARSET + b') NIL NIL "7bit" 0 0)'
_EMPTY_BODYSTRUCTURE = _EMPTY_BODY[:-1] + b" NIL NIL NIL NIL)"
_LANGUAGE = re.compile(rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]++")


class Writer:
    """Writes both forms of a tree in one go. Pieces are collected and joined once: a hundred levels
    that each copied what is in them would be quadratic."""

    def __init__(self, data: bytes, budget: Budget) -> None:
        self._data = data
        self._budget = budget
        self._body: list[bytes] = []
        self._structure: list[bytes] = []

    def write(self, root: Node) -> tuple[bytes, bytes]:
        """BODY and BODYSTRUCTURE."""
        self._part(root)
        return b"".join(self._body), b"".join(self._structure)

    def _both(self, text: bytes) -> None:
        self._body.append(text)
        self._structure.append(text)

    def _part(self, node: Node) -> None:
        self._both(b"(")
        if node.kind is Kind.MULTIPART:
            self._multipart(node)
        else:
            self._single(node)
        self._both(b")")

    def _multipart(self, node: Node) -> None:
        for child in node.nodes:
            self._part(child)
        if not node.nodes:
            self._body.append(_EMPTY_BODY)
            self._structure.append(_EMPTY_BODYSTRUCTURE)
        kind = node.content_type
        assert kind is not None  # Only a Content-Type makes a multipart.
        self._both(b" " + string(kind.subtype))
        self._structure.append(b" " + _parameters(kind.parameters))
        self._common(node)

    def _single(self, node: Node) -> None:
        kind = node.content_type
        is_text = False
        if node.kind is Kind.MESSAGE:
            media = b'"message" "rfc822"'
        elif node.kind is Kind.UNOPENED:
            # What a client would open must not be promised.
            media = b'"application" "octet-stream"'
        elif kind is None:
            media, is_text = b'"text" "plain"', True
        else:
            media = string(kind.maintype) + b" " + string(kind.subtype)
            is_text = kind.maintype.lower() == b"text"
        parameters = kind.parameters if kind else ()
        self._both(
            b"%b %b %b %b %b %d"
            % (
                media,
                _parameters(parameters, charset=is_text),
                nstring(self._text(node, b"content-id")),
                nstring(self._text(node, b"content-description")),
                string(encoding(self._data, node, self._budget) or b"7bit"),
                node.size,
            )
        )
        if is_text:
            self._both(b" %d" % node.lines)
        elif node.kind is Kind.MESSAGE:
            child = node.nodes[0]
            self._both(b" " + envelope(self._data, child.spans, self._budget) + b" ")
            self._part(child)
            self._both(b" %d" % node.lines)
        self._structure.append(b" " + nstring(self._text(node, b"content-md5")))
        self._common(node)

    def _common(self, node: Node) -> None:
        """The extension data that all parts have: disposition, language, location."""
        if not node.mime or not any(name in node.spans for name in _EXTENSIONS):
            self._structure.append(b" NIL NIL NIL")
            return
        self._structure.append(
            b" %b %b %b"
            % (self._disposition(node), self._language(node), nstring(self._text(node, b"content-location")))
        )

    def _text(self, node: Node, name: bytes) -> bytes | None:
        """The first field of that name."""
        found = node.spans.get(name)
        return text_of(self._data, found[0], self._budget) if found and node.mime else None

    def _disposition(self, node: Node) -> bytes:
        best = None
        # A second field counts only when the first has no parameters: the file name is what is wanted.
        for span in node.spans.get(b"content-disposition", ())[:10]:
            best = parse_disposition(text_of(self._data, span, self._budget)) or best
            if best and best[1]:
                break
        return b"(%b %b)" % (string(best[0]), _parameters(best[1])) if best else b"NIL"

    def _language(self, node: Node) -> bytes:
        """RFC 3282; one or a list."""
        value = self._text(node, b"content-language")
        if not value:
            return b"NIL"
        out = []
        at = skip_cfws(value, 0)
        while found := _LANGUAGE.match(value, at):
            out.append(string(found[0]))
            at = skip_cfws(value, found.end())
            if value[at : at + 1] != b",":
                break
            at = skip_cfws(value, at + 1)
        return b"(%b)" % b" ".join(out) if out else b"NIL"


_EXTENSIONS = (b"content-disposition", b"content-language", b"content-location")


def encoding(data: bytes, node: Node, budget: Budget) -> bytes | None:
    """The Content-Transfer-Encoding as written; None when there is none that is one token."""
    if not node.mime:
        return None
    # Of several the first that is sound: a broken one must not hide that the part is base64.
    for span in node.spans.get(b"content-transfer-encoding", ())[:10]:
        if token := parse_token(text_of(data, span, budget)):
            return token
    return None


def _parameters(parameters: Parameters, *, charset: bool = False) -> bytes:
    """With `charset`, RFC 2046 section 4.1.2's default is written out, as clients expect of a text."""
    if not parameters:
        return b"(" + _DEFAULT_CHARSET + b")" if charset else b"NIL"
    out = [string(name) + b" " + string(value) for name, value in parameters]
    if charset and not any(name.lower() == b"charset" for name, _ in parameters):
        out.append(_DEFAULT_CHARSET)
    return b"(%b)" % b" ".join(out)
