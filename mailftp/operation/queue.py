"""What is asked of outgoing mail: have it listed, tried, held, dropped, returned or sent elsewhere."""

from __future__ import annotations

import time
from collections import Counter

from mailftp.delivery.routes import check_route
from mailftp.operation.requests import LARGEST_LIST, Answer, Operation, Refused, Request
from mailftp.settings import Settings
from mailftp.store.engine import MissingBody, Store
from mailftp.store.queries import QueueAttempts, QueueList, ReadStart
from mailftp.store.records import QueueFilter, QueueMessage, RecipientState
from mailftp.store.units import ActOnQueue, QueueAction, SetRoute

#: Octets of a message's header that are shown.
HEADER = 64 * 1024
#: The longest age that can be asked for, in seconds: a century.
LONGEST = 100 * 366 * 86400
#: Every state, for when a message is asked for by its number.
_ALL_STATES = frozenset(RecipientState)
_UNFINISHED = frozenset({RecipientState.WAITING, RecipientState.HELD})


async def list_queue(store: Store, settings: Settings, request: Request) -> Answer:
    """Members `ids`, `sender` ("<>" is the null sender), `recipient`, `domain`, `states`, `error` (a part of
    it), `older` (seconds), `limit`; those that are there must all fit."""
    limit = request.number("limit", 1000, LARGEST_LIST)
    return [described(message) for message in await store.read(QueueList(_filter(request), limit))]


def _filter(request: Request) -> QueueFilter:
    try:
        states = frozenset(RecipientState(state) for state in request.texts("states"))
    except ValueError:
        raise Refused(f"the states are {', '.join(state.value for state in RecipientState)}")
    older = request.number("older", 0, LONGEST, 0)
    return QueueFilter(
        ids=request.numbers("ids"),
        sender=request.text("sender", ""),
        recipient=request.text("recipient", ""),
        domain=request.text("domain", ""),
        error=request.text("error", ""),
        accepted_by=time.time() - older if older else None,
        states=states or _UNFINISHED,
    )


def described(message: QueueMessage) -> dict[str, object]:
    return {
        "id": message.id,
        "accepted": message.accepted,
        "sender": message.transfer.reverse_path,
        "size": message.size,
        "context": message.transfer.context,
        "message_id": message.message_id,
        "recipients": [
            {
                "address": recipient.address,
                "state": recipient.state.value,
                "attempt": recipient.attempt,
                "next_attempt": recipient.next_attempt,
                "last_error": recipient.last_error,
                "in_progress": bool(recipient.lease_owner),
                "route": recipient.route,
                "give_up": recipient.give_up,
            }
            for recipient in message.recipients
        ],
    }


async def _find(store: Store, ids: tuple[int, ...]) -> tuple[QueueMessage, ...]:
    """Messages by number. Raises Refused naming those that are not there."""
    found = await store.read(QueueList(QueueFilter(ids=ids, states=_ALL_STATES), max(1, len(ids))))
    missing = sorted(set(ids) - {message.id for message in found})
    if missing:
        numbers = ", ".join(map(str, missing))
        raise Refused(f"not in the queue: {numbers}; `mailftp queue list` shows what is")
    return found


async def show_queue(store: Store, settings: Settings, request: Request) -> Answer:
    return [await shown(store, message) for message in await _find(store, request.numbers("ids"))]


async def shown(store: Store, message: QueueMessage) -> dict[str, object]:
    """All that is known of a message that is or was in the queue."""
    by_id = {recipient.id: recipient.address for recipient in message.recipients}
    return {
        **described(message),
        "header": await _header(store, message),
        "attempts": [
            {
                "recipient": by_id.get(attempt.recipient_id, ""),
                "number": attempt.number,
                "started": attempt.started,
                "ended": attempt.ended,
                "remote": attempt.remote,
                "outcome": attempt.outcome,
                "dialogue": attempt.dialogue,
            }
            for attempt in await store.read(QueueAttempts(message.id))
        ],
    }


async def _header(store: Store, message: QueueMessage) -> str:
    """As it is sent; of a finished message only what was put before it is left."""
    try:
        start = await store.read(ReadStart(message.body, HEADER)) if message.body.id else b""
    except MissingBody:
        # It was delivered while we looked.
        start = b""
    header, _, _ = (message.transfer.prefix + start).partition(b"\r\n\r\n")
    return header.decode("utf-8", "replace").replace("\r\n", "\n").strip("\n")


async def tell_progress(store: Store, settings: Settings, request: Request) -> Answer:
    """How many recipients of the messages `ids` are in each state; of the waiting ones, `under_way` are being
    tried and `due` will be at once."""
    found = await store.read(QueueList(QueueFilter(ids=_named(request), states=_ALL_STATES), LARGEST_LIST))
    recipients = [recipient for message in found for recipient in message.recipients]
    states = Counter(recipient.state.value for recipient in recipients)
    now = time.time()
    waiting = [recipient for recipient in recipients if recipient.state is RecipientState.WAITING]
    under_way = sum(bool(recipient.lease_owner) for recipient in waiting)
    due = sum(not recipient.lease_owner and recipient.next_attempt <= now for recipient in waiting)
    return {
        **{state.value: states[state.value] for state in RecipientState},
        "under_way": under_way,
        "due": due,
    }


def _named(request: Request) -> tuple[int, ...]:
    ids = request.numbers("ids")
    if not ids:
        raise Refused("the request names no message")
    return ids


def act(action: QueueAction) -> Operation:
    async def acted(store: Store, settings: Settings, request: Request) -> Answer:
        ids = _named(request)
        await _find(store, ids)
        return {"recipients": await store.commit(ActOnQueue(action, ids))}

    return acted


async def set_route(store: Store, settings: Settings, request: Request) -> Answer:
    ids, route = _named(request), request.text("route")
    if route:
        try:
            check_route(route)
        except ValueError as fault:
            raise Refused(f"{fault}; give HOST:PORT or lmtp:HOST:PORT")
    await _find(store, ids)
    return {"recipients": await store.commit(SetRoute(route, ids))}
