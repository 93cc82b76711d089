"""Domains that took mail over STARTTLS, as an operator asks for them."""

from __future__ import annotations

from mailftp.operation.requests import Answer, Refused, Request
from mailftp.settings import Settings
from mailftp.store.engine import NoSuchTLSMemory, Store
from mailftp.store.queries import TLSMemories
from mailftp.store.records import TLSMemory
from mailftp.store.units import ForgetTLS


def _shown(memory: TLSMemory, settings: Settings) -> dict[str, object]:
    seconds = settings.delivery.tls_memory
    return {
        "domain": memory.domain,
        "host": memory.host,
        "since": memory.since,
        "until": memory.since + seconds if seconds else None,
    }


async def list_tls(store: Store, settings: Settings, request: Request) -> Answer:
    return [_shown(each, settings) for each in await store.read(TLSMemories())]


async def forget_tls(store: Store, settings: Settings, request: Request) -> Answer:
    try:
        return _shown(await store.commit(ForgetTLS(request.text("domain").lower())), settings)
    except NoSuchTLSMemory as fault:
        raise Refused(f"{fault}; `mailftp tls list` shows of whom it is")
