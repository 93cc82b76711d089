"""HTML of strangers made harmless: what is left has no script, no form, no frame, and fetches nothing.

The cleaner knows what is good and keeps that; all else goes, known or not. It is the first of three walls:
the document is shown in a frame without scripts and without an origin, and by a policy that allows neither
(mailftp.web.webmail.documents). A `<style>` goes whole: what a selector and an @import can do changes from
browser to browser, and mail that wants to be read everywhere has its styles in attributes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import nh3

#: Characters of HTML that are looked at; nobody reads more, and every step here is linear in them.
LONGEST = 4 * 1024 * 1024

_TAGS = frozenset(
    "a abbr address article aside b bdi bdo big blockquote br caption center cite code col colgroup dd"
    " del details dfn div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins"
    " kbd li main mark nav ol p pre q rp rt ruby s samp section small span strike strong sub summary sup"
    " table tbody td tfoot th thead time tr tt u ul var wbr".split()
)
#: What is in these is not text.
_SWALLOWED = frozenset(
    "script style title noscript iframe frame frameset object embed applet template svg math audio"
    " video select textarea noembed noframes plaintext xmp listing".split()
)
_ATTRIBUTES = {
    "*": set("align bgcolor color dir lang style title valign width height".split()),
    "a": {"href"},
    "col": {"span"},
    "colgroup": {"span"},
    "font": {"face", "size"},
    "hr": {"noshade", "size"},
    "img": {"alt", "border", "hspace", "src", "vspace"},
    "ol": {"start", "type"},
    "table": {"border", "cellpadding", "cellspacing"},
    "td": {"colspan", "nowrap", "rowspan"},
    "th": {"colspan", "nowrap", "rowspan", "scope"},
    "ul": {"type"},
}
#: Properties that stay where they are put and load nothing. No position, no float out of the frame matters,
#: but what hides text from its reader and not from a filter has no place here either.
_PROPERTIES = frozenset(
    "background background-color border border-bottom border-bottom-color border-bottom-style"
    " border-bottom-width border-collapse border-color border-left border-left-color border-left-style"
    " border-left-width border-radius border-right border-right-color border-right-style"
    " border-right-width border-spacing border-style border-top border-top-color border-top-style"
    " border-top-width border-width clear color direction display float font font-family font-size"
    " font-style font-variant font-weight height letter-spacing line-height list-style list-style-type"
    " margin margin-bottom margin-left margin-right margin-top max-height max-width min-height min-width"
    " overflow-wrap padding padding-bottom padding-left padding-right padding-top table-layout text-align"
    " text-decoration text-indent text-transform vertical-align white-space width"
    " word-break word-spacing".split()
)
#: The functions that a value may have. url(), image-set(), expression(), var() and attr() are none of them.
_FUNCTION = re.compile(r"([a-z-]*)\(", re.IGNORECASE)
_FUNCTIONS = frozenset({"", "rgb", "rgba", "hsl", "hsla", "calc"})
#: An escape writes anything as anything, a comment stands between the letters of a name.
_ODD = re.compile(r"[\\@<>{}]|/\*|\*/|[\0-\x08\x0b-\x1f]")

_DATA = re.compile(r"data:image/(?:png|gif|jpeg|webp);base64,[A-Za-z0-9+/=\s]*", re.IGNORECASE)
_REMOTE = re.compile(r"https?://", re.IGNORECASE)
_LINK = re.compile(r"(?:https?://|mailto:|tel:)", re.IGNORECASE)
#: Browsers take these away before they look at an address.
_UNSEEN = re.compile(r"[\0-\x20\x7f-\xa0\u200b-\u200f\u2028-\u202f\ufeff]+")


@dataclass(frozen=True, slots=True)
class Cleaned:
    html: str
    #: Pictures elsewhere, which tell their owner when and where a mail is read.
    remote: int


def clean(html: str, inline: Mapping[str, str], *, pictures: bool = False) -> Cleaned:
    """`inline` are data: addresses by Content-ID, without brackets. Pictures of elsewhere stay with
    `pictures` alone; what is counted is there in both cases. It may take a second: call it in a thread."""
    remote = 0

    def kept(tag: str, name: str, value: str) -> str | None:
        nonlocal remote
        if name == "style":
            return clean_style(value)
        if name == "href":
            address = _UNSEEN.sub("", value[:64]) + value[64:]
            return address if _LINK.match(address) else None
        if name != "src":
            return value
        address = _UNSEEN.sub("", value[:64]) + value[64:]
        if address[:4].lower() == "cid:":
            return inline.get(address[4:].strip("<>"))
        if _REMOTE.match(address):
            remote += 1
            return address if pictures else None
        return address if _DATA.fullmatch(address) else None

    cleaned = nh3.clean(
        html[:LONGEST],
        tags=set(_TAGS),
        clean_content_tags=set(_SWALLOWED),
        attributes=_ATTRIBUTES,
        attribute_filter=kept,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}, "img": {"referrerpolicy": "no-referrer"}},
        url_schemes={"http", "https", "mailto", "tel", "cid", "data"},
    )
    return Cleaned(cleaned, remote)


def clean_style(text: str) -> str | None:
    """The declarations that are harmless; None when none is."""
    if _ODD.search(text):
        return None
    kept = []
    for declaration in text.split(";"):
        name, colon, value = declaration.partition(":")
        name, value = name.strip().lower(), value.strip()
        if not colon or name not in _PROPERTIES or len(value) > 500:
            continue
        if all(function.lower() in _FUNCTIONS for function in _FUNCTION.findall(value)):
            kept.append(f"{name}: {value}")
    return "; ".join(kept) or None
