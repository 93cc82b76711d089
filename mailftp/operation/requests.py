"""What an operator asks: a JSON object, its members checked as they are asked for, and how it is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mailftp.message.address import Address, AddressFault, parse_address
from mailftp.settings import Settings
from mailftp.store.engine import Store

#: Messages of one answer, and message ids of one request.
LARGEST_LIST = 10_000

Answer = Any


class Refused(Exception):
    """It cannot be done; the text says why, and what to do."""


class Request:
    """The members of a request, checked as they are asked for."""

    def __init__(self, members: Mapping[str, object]) -> None:
        self._members = members

    def text(self, name: str, default: str | None = None) -> str:
        value = self._members.get(name, default)
        if not isinstance(value, str):
            raise Refused(f"the request lacks {name}")
        return value

    def numbers(self, name: str) -> tuple[int, ...]:
        value = self._members.get(name, [])
        if not isinstance(value, list) or len(value) > LARGEST_LIST:
            raise Refused(f"{name} is not a list of at most {LARGEST_LIST} numbers")
        if not all(isinstance(item, int) and 0 <= item < 2**63 for item in value):
            raise Refused(f"{name} holds what is no number of a message")
        return tuple(value)

    def number(self, name: str, default: int, most: int, least: int = 1) -> int:
        value = self._members.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise Refused(f"{name} is not a number from {least} to {most}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._members.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise Refused(f"{name} is not a list of texts")
        return tuple(value)

    def pairs(self, name: str, most: int) -> tuple[tuple[int, str], ...]:
        """A list of [number, text]."""
        value = self._members.get(name)
        if not isinstance(value, list) or len(value) > most:
            raise Refused(f"{name} is not a list of at most {most} pairs")
        pairs = []
        for item in value:
            match item:
                case [int(number), str(text)] if not isinstance(number, bool) and 0 <= number < 2**63:
                    pairs.append((number, text))
                case _:
                    raise Refused(f"{name} holds what is no pair of a number and a text")
        return tuple(pairs)

    def table(self, name: str) -> Mapping[str, object]:
        value = self._members.get(name)
        if not isinstance(value, dict):
            raise Refused(f"the request lacks {name}")
        return value

    def flag(self, name: str) -> bool | None:
        """None where it is not said."""
        value = self._members.get(name)
        if value is not None and not isinstance(value, bool):
            raise Refused(f"{name} is neither true nor false")
        return value


#: What performs a request; what it answers can be written as JSON.
Operation = Callable[[Store, Settings, Request], Awaitable[Answer]]


def account_address(settings: Settings, text: str) -> Address:
    """The address of an account as an operator types it: the local part alone where there is one domain."""
    if "@" not in text and len(settings.domains) == 1:
        text = f"{text}@{settings.domains[0]}"
    try:
        address = parse_address(text)
    except AddressFault as fault:
        raise Refused(f"{text} is no mail address: {fault}")
    if address.domain not in settings.domains:
        domains = ", ".join(settings.domains)
        raise Refused(f"{address.domain} is none of this server's domains, which are: {domains}")
    return address


def any_address(settings: Settings, text: str) -> Address:
    if "@" not in text:
        return account_address(settings, text)
    try:
        return parse_address(text)
    except AddressFault as fault:
        raise Refused(f"{text} is no mail address: {fault}")
