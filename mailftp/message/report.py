"""Delivery status notifications: RFC 3464 reports in a multipart/report (RFC 6522).

With addresses that are not ASCII, their RFC 6533 forms. Nearly all that goes in was written by a
stranger (replies, ORCPT, ENVID, the original), so nothing of it may end a line or a MIME part.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import textwrap
from dataclasses import dataclass

from mailftp.message.dates import format_date
from mailftp.message.fields import get, header_bounds
from mailftp.message.trace import fold, one_line
from mailftp.message.xtext import encode_utf8_address

#: RFC 5322 section 2.1.1, without the CRLF.
_LONGEST_LINE = 998
_ACTIONS = {
    "failed": "could not be delivered",
    "delayed": "has not been delivered yet",
    "delivered": "was delivered",
    "relayed": "was passed on to a server that sends no reports of success",
    "expanded": "was delivered to a list and sent on to its members",
}
#: RFC 3463 section 2.
_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}\Z")
#: Taken over into References, so nothing loose: one msg-id and no more.
_MESSAGE_ID = re.compile(rb"<[!-;=?-~]{1,250}>\Z")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_LONG_LINE = re.compile(rb"[^\r\n]{999}")


@dataclass(frozen=True, slots=True)
class ReportedRecipient:
    address: str
    #: "failed", "delayed", "delivered", "relayed" or "expanded".
    action: str
    #: RFC 3463, "5.1.1".
    status: str
    #: What the far side said, or what went wrong here; one line.
    diagnostic: str
    #: "smtp" when `diagnostic` is a reply of a far side, else "x-mailftp".
    diagnostic_type: str = "smtp"
    orcpt: str = ""
    #: Host name and address of the far side, or "".
    remote: str = ""
    last_attempt: float = 0.0
    #: For "delayed": until when it will be tried.
    will_retry_until: float = 0.0


def build_report(
    *,
    hostname: str,
    to: str,
    recipients: tuple[ReportedRecipient, ...],
    arrival: float,
    now: float,
    message_id: str,
    envid: str,
    original: bytes,
    whole: bool,
) -> bytes:
    """The report as a message with CRLF line ends, From MAILER-DAEMON at `hostname`.

    `original` is the returned message's header section, or, with `whole`, all of it. Its text
    names each recipient and the reason in plain English. `message_id` comes without brackets.

    The report is 7-bit unless `to` or a recipient is not ASCII (then it needs SMTPUTF8 as the message
    did), or `whole` returns an 8-bit message (then 8BITMIME). A whole message with lines beyond 998
    octets could not travel in a message/rfc822, which has no encoding: of it, the header is returned.
    """
    utf8 = not (to.isascii() and all(r.address.isascii() for r in recipients))
    text = _text(hostname, recipients)
    status = _delivery_status(hostname, recipients, arrival, envid, utf8)
    returned, eightbit = _returned(original, whole)
    eightbit = eightbit or utf8
    boundary = _boundary(message_id, text, status, returned)
    header = [
        fold("Date", [format_date(now)]),
        fold("From", ["Mail Delivery System", f"<MAILER-DAEMON@{one_line(hostname, 255)}>"]),
        fold("To", [f"<{one_line(to)}>"]),
        fold("Subject", [_subject(recipients)]),
        fold("Message-ID", [f"<{one_line(message_id, 500)}>"]),
        *_thread(original),
        b"Auto-Submitted: auto-replied\r\n",
        b"MIME-Version: 1.0\r\n",
        b'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="' + boundary + b'"\r\n',
    ]
    if eightbit:
        header.append(b"Content-Transfer-Encoding: 8bit\r\n")
    opening = b"\r\n--" + boundary + b"\r\n"
    return b"".join(
        [
            *header,
            b"\r\nThis is a report about the delivery of a message, in MIME format.\r\n",
            opening,
            text,
            opening,
            status,
            opening,
            returned,
            b"\r\n--" + boundary + b"--\r\n",
        ]
    )


def _subject(recipients: tuple[ReportedRecipient, ...]) -> str:
    actions = {r.action for r in recipients}
    if actions - {"delayed", "delivered", "relayed", "expanded"}:
        return "Your message could not be delivered"
    if "delayed" in actions:
        return "Your message is delayed"
    return "Your message was delivered"


def _thread(original: bytes) -> list[bytes]:
    """In-Reply-To and References, so that a mail program shows the report under its message."""
    found = get(original[: header_bounds(original)[0]], "Message-ID")
    if found is None or not _MESSAGE_ID.match(found):
        return []
    token = found.decode("ascii")
    return [fold("In-Reply-To", [token]), fold("References", [token])]


def _text(hostname: str, recipients: tuple[ReportedRecipient, ...]) -> bytes:
    """For people: who, what and why. The last word is the far side's, word for word."""
    lines = [f"This is the mail server {one_line(hostname, 255)}.", ""]
    for recipient in recipients:
        lines += textwrap.wrap(
            f"Your message to <{one_line(recipient.address)}>"
            f" {_ACTIONS.get(recipient.action, _ACTIONS['failed'])}.",
            width=76,
            break_long_words=False,
            break_on_hyphens=False,
        )
        if recipient.action == "delayed":
            lines.append("You need not send it again: the server goes on trying.")
            if recipient.will_retry_until:
                lines.append(f"It gives up on {format_date(recipient.will_retry_until)}.")
        said = one_line(recipient.diagnostic).strip()
        if said:
            if recipient.diagnostic_type == "smtp" and recipient.remote:
                lines.append(f"The server {one_line(recipient.remote, 300).strip()} said:")
            elif recipient.diagnostic_type == "smtp":
                lines.append("The receiving server said:")
            else:
                lines.append("The reason:")
            lines += textwrap.wrap(
                said, width=76, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
            )
        lines.append("")
    body = "".join(f"{line}\r\n" for line in lines)
    if body.isascii():
        head = b"Content-Type: text/plain; charset=us-ascii\r\n\r\n"
        return head + body.encode("ascii")
    # Quoted-printable: a diagnostic may be UTF-8 while every address is ASCII, and that alone must
    # not make the report undeliverable to a server without 8BITMIME.
    head = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    return head + binascii.b2a_qp(body.encode(), istext=True)


def _delivery_status(
    hostname: str, recipients: tuple[ReportedRecipient, ...], arrival: float, envid: str, utf8: bool
) -> bytes:
    """RFC 3464 section 2: fields of the message, then a block for each recipient."""
    if utf8:
        out = [b"Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"]
    else:
        out = [b"Content-Type: message/delivery-status\r\n\r\n"]
    if envid:
        out.append(_field("Original-Envelope-Id", _ascii(envid)))
    out.append(_field("Reporting-MTA", f"dns; {_ascii(hostname)}"))
    if arrival:
        out.append(_field("Arrival-Date", format_date(arrival)))
    for recipient in recipients:
        out.append(b"\r\n")
        if recipient.orcpt:
            orcpt = recipient.orcpt if ";" in recipient.orcpt else f"rfc822;{recipient.orcpt}"
            out.append(_field("Original-Recipient", orcpt if utf8 else _ascii_orcpt(orcpt)))
        kind = "rfc822" if recipient.address.isascii() else "utf-8"
        out.append(_field("Final-Recipient", f"{kind}; {recipient.address}"))
        action = recipient.action if recipient.action in _ACTIONS else "failed"
        out.append(_field("Action", action))
        out.append(_field("Status", _status(recipient.status, action)))
        if recipient.remote:
            out.append(_field("Remote-MTA", f"dns; {_ascii(recipient.remote)}"))
        if recipient.diagnostic:
            kind = "smtp" if recipient.diagnostic_type == "smtp" else "x-mailftp"
            out.append(_field("Diagnostic-Code", f"{kind}; {_ascii(recipient.diagnostic)}"))
        if recipient.last_attempt:
            out.append(_field("Last-Attempt-Date", format_date(recipient.last_attempt)))
        if action == "delayed" and recipient.will_retry_until:
            out.append(_field("Will-Retry-Until", format_date(recipient.will_retry_until)))
    return b"".join(out)


def _field(name: str, text: str) -> bytes:
    return fold(name, one_line(text).split() or ["?"])


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")


def _ascii_orcpt(orcpt: str) -> str:
    """RFC 6533 section 3: in a report without UTF-8 such an address is written in ASCII."""
    kind, _, address = orcpt.partition(";")
    return orcpt if orcpt.isascii() else f"{_ascii(kind)};{encode_utf8_address(address)}"


def _status(status: str, action: str) -> str:
    """A status that is one and fits the action (RFC 3464 section 2.3.4): 4 for delayed, 5 for failed."""
    leading = {"failed": "5", "delayed": "4"}.get(action, "2")
    if not _STATUS.match(status):
        return f"{leading}.0.0"
    # A message that was given up keeps the 4.x.x of its last failure: the class tells the reader why.
    if action == "failed" and status[0] == "4":
        return status
    return status if status[0] == leading else f"{leading}{status[1:]}"


def _returned(original: bytes, whole: bool) -> tuple[bytes, bool]:
    """The third part with its own header, and whether it is 8-bit."""
    clean = _LINE_END.sub(b"\r\n", original).replace(b"\0", b"?")
    if whole and not _LONG_LINE.search(clean):
        eightbit = not clean.isascii()
        if not eightbit:
            return b"Content-Type: message/rfc822\r\n\r\n" + clean, False
        head = clean[: header_bounds(clean)[0]]
        # RFC 6532: with UTF-8 in its own header it is no message/rfc822.
        kind = b"rfc822" if head.isascii() or not _is_utf8(head) else b"global"
        return (
            b"Content-Type: message/" + kind + b"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + clean,
            True,
        )
    head = clean[: header_bounds(clean)[0]]
    if head.isascii() and not _LONG_LINE.search(head):
        return b"Content-Type: text/rfc822-headers\r\n\r\n" + head, False
    kind = b"message/global-headers" if not head.isascii() and _is_utf8(head) else b"text/rfc822-headers"
    return (
        b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        b"" + binascii.b2a_qp(head, istext=True),
        False,
    )


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _boundary(message_id: str, *parts: bytes) -> bytes:
    """A boundary that none of `parts` holds, whatever a sender who expects us has put there."""
    digest = hashlib.sha256(message_id.encode("utf-8", "replace"))
    for part in parts:
        digest.update(part)
    while True:
        boundary = b"=_report_" + digest.hexdigest()[:32].encode("ascii")
        if not any(boundary in part for part in parts):
            return boundary
        digest.update(b"+")
