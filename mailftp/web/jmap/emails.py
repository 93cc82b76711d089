"""Email/get and Email/changes: RFC 8621 sections 4.1 to 4.3."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailftp.message.fields import header_bounds
from mailftp.message.index import Part
from mailftp.message.preview import looked_at, preview_of, preview_part
from mailftp.store.emails import Email, EmailsById, EmailsSince
from mailftp.web.jmap.arguments import Arguments, utc_date
from mailftp.web.jmap.body_parts import (
    MOST_HEADER,
    PROPERTIES,
    USUAL,
    Bodies,
    BodyPart,
    headers_object,
    part_object,
    read_parts,
    split_bodies,
)
from mailftp.web.jmap.body_values import LONGEST, body_value
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.datatypes import Changed, Changing, Gettable, Wanted
from mailftp.web.jmap.faults import MethodError, invalid_arguments
from mailftp.web.jmap.headers import CONVENIENT, HeaderField, fields_of, header_property
from mailftp.web.jmap.ids import EMAIL, MAILBOX, THREAD, numbers_of, spell
from mailftp.web.jmap.keywords import keywords_of
from mailftp.web.jmap.octets import Octets, Read, decoded_pieces, each_read
from mailftp.web.jmap.states import mail_state, modseq_in, told

METADATA = ("id", "blobId", "threadId", "mailboxIds", "keywords", "size", "receivedAt")
_BODY = ("bodyStructure", "textBody", "htmlBody", "attachments", "bodyValues", "hasAttachment")

#: Octets of all body values of one /get; and of a part that are read for a value.
_VALUES, _PART = 8 << 20, 4 << 20
#: Bodies whose parts' sizes are remembered: a large one has to be decoded for them.
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class BodyArguments:
    """Section 4.2."""

    properties: tuple[str, ...] = USUAL
    fetch_text: bool = False
    fetch_html: bool = False
    fetch_all: bool = False
    most: int = 0


class PartSizes:
    """Decoded sizes of parts, by body id and the part's place."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, int], int] = OrderedDict()

    def of(self, body_id: int, part: Part, data: Octets) -> int:
        if part.encoding in ("7bit", "8bit", "binary"):
            return part.end - part.body
        key = (body_id, part.body)
        size = self._known.get(key)
        if size is None:
            size = sum(map(len, decoded_pieces(data, part)))
            self._known[key] = size
            # Threads come by here: one may have taken the last away.
            if len(self._known) > _REMEMBERED:
                self._known.pop(next(iter(self._known)), None)
        return size


class EmailType(Gettable, Changing):
    name = "Email"
    properties = (
        *METADATA,
        "headers",
        *CONVENIENT,
        "preview",
        *_BODY,
    )
    usual = (
        *METADATA,
        *CONVENIENT,
        "hasAttachment",
        "preview",
        "bodyValues",
        "textBody",
        "htmlBody",
        "attachments",
    )

    def __init__(self) -> None:
        self._sizes = PartSizes()

    def has(self, name: str) -> bool:
        return name in self.properties or header_property(name) is not None

    async def state(self, context: Context) -> str:
        return await mail_state(context)

    # Email/get, section 4.2.

    def read_get_arguments(self, arguments: Arguments) -> BodyArguments:
        return read_body_arguments(arguments)

    async def get(self, context: Context, wanted: Wanted) -> Mapping[str, Mapping[str, Any]]:
        if wanted.ids is None:
            raise MethodError("requestTooLarge", "ask for emails by id")
        asked = numbers_of(EMAIL, wanted.ids)
        found = await context.store.read(EmailsById(context.account.id, tuple(asked)))
        made: dict[int, Mapping[str, Any]] = {email.id: metadata(email) for email in found.emails}
        more = [name for name in wanted.properties if name not in METADATA]
        if more:
            made = await self._with_contents(context, found.emails, made, more, wanted.extra)
        return {name: made[number] for number, name in asked.items() if number in made}

    async def _with_contents(
        self,
        context: Context,
        emails: Sequence[Email],
        known: Mapping[int, Mapping[str, Any]],
        names: Sequence[str],
        arguments: BodyArguments,
    ) -> dict[int, Mapping[str, Any]]:
        made: dict[int, Mapping[str, Any]] = {}
        octets = 0

        def work(read: Read) -> dict[str, Any]:
            return contents(read, names, arguments, self._sizes, f"B{read.email.id}")

        async for email, described in each_read(context.store, emails, context.ground.run, work):
            made[email.id] = {**known[email.id], **described}
            values = described.get("bodyValues", {}).values()
            octets += sum(len(value["value"]) for value in values)
            if octets > _VALUES:
                words = f"body values of more than {_VALUES} characters: ask for fewer, or for less of each"
                raise MethodError("requestTooLarge", words)
        return made

    # Email/changes, section 4.3.

    async def changes(self, context: Context, since: str, most: int | None) -> Changed:
        changed = await context.store.read(EmailsSince(context.account.id, modseq_in(since)))
        return told(EMAIL, changed, most)


def read_body_arguments(arguments: Arguments) -> BodyArguments:
    """Takes what Email/get and Email/parse share. Raises MethodError."""
    named = arguments.strings("bodyProperties", None, nullable=True)
    for name in named or ():
        if name not in PROPERTIES and header_property(name) is None:
            raise invalid_arguments(f"a body part has no property {name[:100]}")
    return BodyArguments(
        USUAL if named is None else named,
        arguments.boolean("fetchTextBodyValues", False),
        arguments.boolean("fetchHTMLBodyValues", False),
        arguments.boolean("fetchAllBodyValues", False),
        arguments.unsigned("maxBodyValueBytes", 0) or 0,
    )


def metadata(email: Email) -> dict[str, Any]:
    """Section 4.1.1."""
    return {
        "id": spell(EMAIL, email.id),
        "blobId": f"B{email.id}",
        "threadId": spell(THREAD, email.thread_id),
        "mailboxIds": {spell(MAILBOX, each): True for each in email.mailbox_ids},
        "keywords": keywords_of(email.flags),
        "size": email.size,
        "receivedAt": utc_date(email.received),
    }


def contents(
    read: Read, names: Sequence[str], arguments: BodyArguments, sizes: PartSizes, blob_id: str
) -> dict[str, Any]:
    """The properties that are in the message itself (sections 4.1.2 to 4.1.4). `blob_id` is the message's."""
    fields = _fields(read)
    made: dict[str, Any] = {}
    wants_body = any(name in _BODY for name in names)
    root = _parts(read, fields) if wants_body else None
    bodies = split_bodies(root) if root is not None else Bodies()

    def described(part: BodyPart) -> dict[str, Any]:
        size = sizes.of(read.email.body.id, part.part, read.data) if "size" in arguments.properties else 0
        return part_object(part, arguments.properties, f"{blob_id}_{part.number}", size)

    for name in names:
        if name in CONVENIENT:
            made[name] = CONVENIENT[name].of(fields)
        elif name == "headers":
            made[name] = headers_object(fields)
        elif name == "preview":
            made[name] = _preview(read)
        elif name == "hasAttachment":
            made[name] = bodies.has_attachment
        elif name == "bodyStructure":
            assert root is not None
            made[name] = _structure(root, described)
        elif name in ("textBody", "htmlBody", "attachments"):
            made[name] = [described(each) for each in getattr(bodies, _LISTS[name])]
        elif name == "bodyValues":
            assert root is not None
            made[name] = _values(read.data, root, bodies, arguments)
        else:
            asked = header_property(name)
            assert asked is not None, "it was looked at before"
            made[name] = asked.of(fields)
    return made


_LISTS = {"textBody": "text", "htmlBody": "html", "attachments": "attachments"}


def _fields(read: Read) -> list[HeaderField]:
    root = read.index.root
    header = read.data[root.header : min(root.body, root.header + MOST_HEADER)]
    end = header_bounds(header)[0]
    return fields_of(read.email.prefix) + fields_of(header[:end])


def _parts(read: Read, fields: Sequence[HeaderField]) -> BodyPart:
    def header_of(part: Part) -> bytes:
        header = read.data[part.header : min(part.body, part.header + MOST_HEADER)]
        return header[: header_bounds(header)[0]]

    root = read_parts(read.index.root, header_of)
    root.fields = fields
    return root


def parts_of(read: Read) -> BodyPart:
    return _parts(read, _fields(read))


def has_attachment(read: Read) -> bool:
    return split_bodies(parts_of(read)).has_attachment


def _preview(read: Read) -> str:
    part = preview_part(read.index.root)
    if part is None:
        return ""
    start, end = looked_at(part)
    return preview_of(part, read.data[start:end])


def _structure(part: BodyPart, described: Any) -> dict[str, Any]:
    made: dict[str, Any] = described(part)
    if part.is_multipart:
        made["subParts"] = [_structure(each, described) for each in part.parts]
    return made


def _values(data: Octets, root: BodyPart, bodies: Bodies, arguments: BodyArguments) -> dict[str, Any]:
    chosen: dict[int, BodyPart] = {}
    if arguments.fetch_text:
        chosen.update({each.number: each for each in bodies.text})
    if arguments.fetch_html:
        chosen.update({each.number: each for each in bodies.html})
    if arguments.fetch_all:
        chosen.update({each.number: each for each in root.walk()})
    made: dict[str, Any] = {}
    for number, each in sorted(chosen.items()):
        if each.type.startswith("text/"):
            part = each.part
            # Three octets of quoted-printable are one; more than LONGEST of what is decoded is not told.
            end = min(part.end, part.body + _PART)
            value = body_value(each, data[part.body : end], arguments.most, whole=end == part.end)
            made[str(number)] = value
    return made


assert _PART > 3 * LONGEST
