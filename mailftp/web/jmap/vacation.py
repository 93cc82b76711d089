"""VacationResponse: RFC 8621 section 8. mailftp.intake.vacation answers by it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mailftp.intake.vacation import ANSWERED, SETTINGS
from mailftp.message.header_writing import FieldFault, check_text
from mailftp.store.email_units import SetObjects
from mailftp.store.emails import Objects
from mailftp.store.engine import LimitReached
from mailftp.web.jmap.arguments import Arguments, utc_date
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.datatypes import Gettable, Wanted
from mailftp.web.jmap.faults import SetError
from mailftp.web.jmap.registry import VACATION
from mailftp.web.jmap.setting import Outcome, Sets, Settable
from mailftp.web.jmap.states import mail_state

ONLY = "singleton"
#: Characters of a text.
_LONGEST = 64 * 1024


class VacationType(Gettable, Settable):
    name = "VacationResponse"
    capability = VACATION
    properties = ("id", "isEnabled", "fromDate", "toDate", "subject", "textBody", "htmlBody")

    async def state(self, context: Context) -> str:
        return await mail_state(context)

    async def get(self, context: Context, wanted: Wanted) -> Mapping[str, Mapping[str, Any]]:
        if wanted.ids is not None and ONLY not in wanted.ids:
            return {}
        known = (await _known(context))[1]
        dates = {f"{name}Date": known.get(name) for name in ("from", "to")}
        return {
            ONLY: {
                "id": ONLY,
                "isEnabled": bool(known.get("isEnabled")),
                **{name: None if at is None else utc_date(at) for name, at in dates.items()},
                **{name: known.get(name) for name in ("subject", "textBody", "htmlBody")},
            }
        }

    async def set(self, context: Context, sets: Sets, outcome: Outcome) -> None:
        outcome.not_created.update(dict.fromkeys(sets.create, SetError("singleton")))
        for object_id in sets.destroy:
            outcome.not_destroyed[object_id] = SetError("singleton" if object_id == ONLY else "notFound")
        for object_id, patch in sets.update.items():
            try:
                if object_id != ONLY:
                    raise SetError("notFound")
                await _change(context, _values(patch))
                outcome.updated[object_id] = None
            except SetError as error:
                outcome.not_updated[object_id] = error


async def _known(context: Context) -> tuple[int, dict[str, Any]]:
    """Its number in the store, or 0, and what is kept."""
    found = await context.store.read(Objects(context.account.id, SETTINGS))
    for number, value in found.objects.items():
        return number, json.loads(value)
    return 0, {}


async def _change(context: Context, values: Mapping[str, Any]) -> None:
    number, known = await _known(context)
    text = json.dumps({**known, **values}, ensure_ascii=False)
    account_id = context.account.id
    unit = (
        SetObjects(account_id, SETTINGS, update=((number, text),))
        if number
        else SetObjects(account_id, SETTINGS, (text,))
    )
    try:
        await context.store.commit(unit)
    except LimitReached as fault:
        raise SetError("overQuota", str(fault)) from None
    # Whoever had the old answer gets the new one.
    answered = await context.store.read(Objects(account_id, ANSWERED))
    if answered.objects:
        await context.store.commit(SetObjects(account_id, ANSWERED, destroy=tuple(answered.objects)))


def _values(patch: Mapping[str, Any]) -> dict[str, Any]:
    """Raises SetError."""
    values = Arguments(patch, lambda text: SetError("invalidProperties", text), "the response")
    made: dict[str, Any] = {}
    if "isEnabled" in values:
        made["isEnabled"] = values.boolean("isEnabled")
    for name in ("from", "to"):
        if f"{name}Date" in values:
            made[name] = values.utc_date(f"{name}Date", nullable=True)
    for name in ("subject", "textBody", "htmlBody"):
        if name in values:
            text = values.string(name, nullable=True)
            if text is not None and len(text) > _LONGEST:
                raise SetError("invalidProperties", f"at most {_LONGEST} characters", properties=[name])
            made[name] = text
    values.done()
    try:
        check_text(made.get("subject") or "")
    except FieldFault as fault:
        raise SetError("invalidProperties", str(fault), properties=["subject"]) from None
    return made
