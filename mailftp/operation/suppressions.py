"""Addresses that failed for good, as an operator asks for them."""

from __future__ import annotations

from mailftp.operation.requests import Answer, Refused, Request, any_address
from mailftp.settings import Settings
from mailftp.store.engine import NoSuchSuppression, Store
from mailftp.store.queries import Suppressions
from mailftp.store.records import Suppression
from mailftp.store.units import Suppress, Unsuppress

#: Characters of a reason.
LONGEST_REASON = 200


def _shown(suppression: Suppression) -> dict[str, object]:
    return {
        "address": suppression.address,
        "since": suppression.since,
        "until": suppression.until or None,
        "reason": suppression.reason,
        "failures": suppression.failures,
    }


async def list_suppressions(store: Store, settings: Settings, request: Request) -> Answer:
    return [_shown(each) for each in await store.read(Suppressions())]


async def add_suppression(store: Store, settings: Settings, request: Request) -> Answer:
    """Until somebody removes it."""
    address = any_address(settings, request.text("address"))
    reason = request.text("reason", "")
    if len(reason) > LONGEST_REASON or not reason.isprintable() or not reason.isascii():
        raise Refused(f"a reason is one line of ASCII, of at most {LONGEST_REASON} characters: SMTP says it")
    return _shown(await store.commit(Suppress(address.key, reason)))


async def remove_suppression(store: Store, settings: Settings, request: Request) -> Answer:
    address = any_address(settings, request.text("address"))
    try:
        return _shown(await store.commit(Unsuppress(address.key)))
    except NoSuchSuppression as fault:
        raise Refused(f"{fault}; `mailftp suppress list` shows who is")
