"""Commands of every state, and those that lead to a login: RFC 9051 sections 6.1, 6.2 and 6.3.1."""

from __future__ import annotations

import base64
import binascii
from contextlib import suppress
from typing import Any

from mailftp.accounts.credentials import Password
from mailftp.accounts.login import LoggedIn, LoginRefused, LoginThrottled, LoginUnavailable
from mailftp.accounts.sasl import Challenge, Proven, SASLFault
from mailftp.imap.capabilities import capabilities
from mailftp.imap.commands import Bad, Command, No, Ok, State, nothing
from mailftp.imap.context import CONDSTORE, IMAP4REV2, QRESYNC, UIDONLY, UTF8_ACCEPT, Context
from mailftp.imap.parser import Parser, SyntaxFault
from mailftp.wire.scan import TOO_LONG

#: Octets of a line in a SASL exchange (RFC 9051 section 6.2.2 has no limit of its own; this is RFC 4954's).
SASL_LINE = 12288
#: RFC 2971 section 3.3: pairs, and octets of a field and of a value.
_PAIRS, _FIELD, _VALUE = 30, 30, 1024

#: What ENABLE can enable (RFC 5161), and how its name is written in ENABLED.
ENABLED: dict[bytes, bytes] = {
    CONDSTORE: b"CONDSTORE",
    QRESYNC: b"QRESYNC",
    IMAP4REV2: b"IMAP4rev2",
    UTF8_ACCEPT: b"UTF8=ACCEPT",
    UIDONLY: b"UIDONLY",
}


async def _capability(context: Context, value: None) -> Ok:
    """CAPABILITY, RFC 9051 section 6.1.1."""
    context.respond(b"CAPABILITY " + capabilities(context.state, context.link.offer()))
    return Ok()


async def _logout(context: Context, value: None) -> Ok:
    """LOGOUT, RFC 9051 section 6.1.3."""
    context.respond(b"BYE see you")
    context.over = True
    return Ok()


def _parse_id(parser: Parser) -> dict[bytes, bytes | None]:
    parser.space()
    if parser.peek() != b"(":
        if parser.nstring() is not None:
            raise parser.fault("a list of pairs or NIL is expected")
        return {}
    parser.open()
    pairs: dict[bytes, bytes | None] = {}
    while parser.peek() != b")":
        field = parser.string()
        parser.space()
        pairs[field] = parser.nstring()
        if len(pairs) > _PAIRS or len(field) > _FIELD or len(pairs[field] or b"") > _VALUE:
            raise parser.fault(f"at most {_PAIRS} pairs of {_FIELD} and {_VALUE} octets are taken")
        if parser.peek() == b" ":
            parser.space()
    parser.close()
    return pairs


async def _id(context: Context, pairs: dict[bytes, bytes | None]) -> Ok:
    """ID, RFC 2971: who we are; our version is nobody's business. What the client says goes to the log."""
    said = {name.lower(): (value or b"").decode("utf-8", "replace") for name, value in pairs.items()}
    if said:
        context.link.journal.detail("client", name=said.get(b"name", ""), version=said.get(b"version", ""))
    context.respond(b'ID ("name" "mailftp")')
    return Ok()


async def _starttls(context: Context, value: None) -> Ok:
    """STARTTLS, RFC 9051 section 6.2.1; the handshake begins after the tagged OK."""
    if not context.link.offer().starttls:
        raise Bad("TLS is on already" if context.link.secure else "TLS is not on offer here")

    async def handshake() -> None:
        await context.link.start_tls()

    return Ok("begin TLS", then=handshake)


# Logging in.


def _parse_login(parser: Parser) -> tuple[bytes, bytes]:
    parser.space()
    username = parser.astring()
    parser.space()
    return username, parser.astring()


async def _login(context: Context, value: tuple[bytes, bytes]) -> Ok:
    """LOGIN, RFC 9051 section 6.2.3."""
    if not context.link.offer().plaintext:
        raise No("a password is taken under TLS only", b"PRIVACYREQUIRED")
    return _enter(context, await _attempt(context, Password(*value)))


def _parse_authenticate(parser: Parser) -> tuple[str, bytes | None]:
    parser.space()
    mechanism = parser.keyword().decode("ascii")
    if parser.peek() != b" ":
        return mechanism, None
    parser.space()
    initial = parser.atom()
    return mechanism, b"" if initial == b"=" else _from_base64(initial)


def _from_base64(text: bytes) -> bytes:
    """RFC 4648, strictly: one text for one value. Raises SyntaxFault."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SyntaxFault("malformed base64") from None
    if base64.b64encode(data) != text:
        raise SyntaxFault("malformed base64")
    return data


async def _authenticate(context: Context, value: tuple[str, bytes | None]) -> Ok:
    """AUTHENTICATE, RFC 9051 section 6.2.2, with the initial response of RFC 4959."""
    mechanism, response = value
    exchange = context.link.begin(mechanism)
    if exchange is None:
        raise No("this mechanism is not offered", b"CANNOT")
    if response is None:
        response = await _ask(context, b"") if exchange.client_first else b""
    while True:
        try:
            result = await exchange.step(response)
        except SASLFault as fault:
            context.failures += 1
            raise No(str(fault), b"AUTHENTICATIONFAILED") from None
        if isinstance(result, Proven):
            return await _prove(context, result)
        assert isinstance(result, Challenge)
        response = await _ask(context, result.data)


async def _ask(context: Context, challenge: bytes) -> bytes:
    line = await context.ask(base64.b64encode(challenge), SASL_LINE)
    if line is TOO_LONG:
        raise SyntaxFault("the line is too long")
    assert isinstance(line, bytes)
    if line == b"*":
        raise SyntaxFault("cancelled")
    return _from_base64(line)


async def _prove(context: Context, proven: Proven) -> Ok:
    found = await _attempt(context, proven.credentials, proven.refusal)
    if proven.final is not None:
        try:
            # RFC 5802 section 5: after the server's signature the client has nothing to say.
            if await _ask(context, proven.final):
                raise SyntaxFault("malformed response")
        except BaseException:
            found.logout()
            raise
    return _enter(context, found)


async def _attempt(context: Context, credentials: Any, refusal: bytes | None = None) -> LoggedIn:
    """Response codes: RFC 5530 section 3. `refusal` is the mechanism's word before them."""
    try:
        return await context.link.attempt(credentials)
    except LoginRefused as refused:
        context.failures += 1
        if refusal is not None:
            # RFC 7628 section 3.2.3: the response is a control-A; what else it may be changes nothing.
            with suppress(SyntaxFault):
                await _ask(context, refusal)
        raise No(str(refused), b"AUTHENTICATIONFAILED") from None
    except LoginThrottled as throttled:
        context.failures += 1
        raise No(str(throttled), b"AUTHENTICATIONFAILED") from None
    except LoginUnavailable as unavailable:
        raise No(str(unavailable), b"UNAVAILABLE") from None


def _enter(context: Context, found: LoggedIn) -> Ok:
    context.logged_in = found
    context.link.entered(True)
    return Ok("logged in", b"CAPABILITY " + capabilities(State.AUTHENTICATED, context.link.offer()))


async def _unauthenticate(context: Context, value: None) -> Ok:
    """UNAUTHENTICATE, RFC 8437: as after the greeting, but for TLS."""
    context.leave_mailbox()
    context.log_out()
    context.link.entered(False)
    context.enabled.clear()
    return Ok()


def _parse_enable(parser: Parser) -> list[bytes]:
    parser.space()
    names = [parser.keyword()]
    while parser.peek() == b" ":
        parser.space()
        names.append(parser.keyword())
    return names


async def _enable(context: Context, names: list[bytes]) -> Ok:
    """ENABLE, RFC 9051 section 6.3.1; what is not known is passed over."""
    wanted = [name for name in dict.fromkeys(names) if name in ENABLED and name not in context.enabled]
    context.enabled.update(wanted)
    if QRESYNC in wanted:
        context.enabled.add(CONDSTORE)
    context.respond(b" ".join((b"ENABLED", *(ENABLED[name] for name in wanted))))
    return Ok()


COMMANDS: tuple[Command[Any], ...] = (
    Command(b"CAPABILITY", State.ANY, nothing, _capability),
    Command(b"LOGOUT", State.ANY, nothing, _logout),
    Command(b"ID", State.ANY, _parse_id, _id),
    Command(b"STARTTLS", State.NOT_AUTHENTICATED, nothing, _starttls),
    Command(b"LOGIN", State.NOT_AUTHENTICATED, _parse_login, _login),
    Command(b"AUTHENTICATE", State.NOT_AUTHENTICATED, _parse_authenticate, _authenticate),
    Command(b"UNAUTHENTICATE", State.LOGGED_IN, nothing, _unauthenticate),
    Command(b"ENABLE", State.LOGGED_IN, _parse_enable, _enable),
)
