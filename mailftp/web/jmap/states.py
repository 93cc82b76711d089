"""States of what the store numbers by an account's modseq: IMAP's MODSEQ and JMAP's state are one counter."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

from mailftp.store.emails import Changed, Dated, EmailsById
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.datatypes import Changed as ToldChanges
from mailftp.web.jmap.datatypes import cannot_calculate
from mailftp.web.jmap.ids import spell

_STATE = re.compile(r"0|[1-9][0-9]{0,18}")


async def mail_state(context: Context) -> str:
    """Of mailboxes, threads and emails."""
    found = await context.store.read(EmailsById(context.account.id, ()))
    return str(found.modseq)


def modseq_in(state: str) -> int:
    """Raises MethodError with cannotCalculateChanges."""
    if _STATE.fullmatch(state) is None or int(state) >= 2**63:
        raise cannot_calculate()
    return int(state)


def told(
    kind: str,
    changed: Changed | None,
    most: int | None,
    extra: Callable[[Changed, int], Mapping[str, Any]] = lambda changed, up_to: {},
) -> ToldChanges:
    """What a /changes answers of at most `most` ids: up to some modseq, so that asking again from there goes
    on. `extra` is given that modseq. Raises MethodError."""
    if changed is None:
        raise cannot_calculate()
    lists = (changed.created, changed.updated, changed.destroyed)
    up_to, more = changed.modseq, False
    if most is not None and sum(len(each.ids) for each in lists) > most:
        up_to, more = _last(lists, most), True
    created, updated, destroyed = (_until(kind, each, up_to) for each in lists)
    return ToldChanges(str(up_to), created, updated, destroyed, more, extra(changed, up_to))


def _last(lists: tuple[Dated, ...], most: int) -> int:
    """The highest modseq up to which there are no more than `most`."""
    modseqs = sorted(modseq for each in lists for modseq in each.modseqs)
    if modseqs[most] == modseqs[0]:
        # One change touched more than the client takes at a time: there is no state in its middle.
        raise cannot_calculate("one change alone has more ids than maxChanges: read all anew")
    beyond = modseqs[most]
    return max(modseq for modseq in modseqs[:most] if modseq < beyond)


def _until(kind: str, dated: Dated, up_to: int) -> list[str]:
    return [spell(kind, number) for number in dated.ids[: bisect_right(dated.modseqs, up_to)]]
