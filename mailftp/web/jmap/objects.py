"""Types whose objects a client keeps in the account as they are: identities and submissions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from mailftp.store.email_units import SetObjects
from mailftp.store.emails import Objects, ObjectsSince
from mailftp.store.engine import LimitReached
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.datatypes import Changed, Changing, Gettable, Wanted
from mailftp.web.jmap.faults import MethodError, SetError
from mailftp.web.jmap.ids import number_of, spell
from mailftp.web.jmap.states import mail_state, modseq_in, told


class KeptType(Gettable, Changing):
    #: The letter that its ids begin with.
    letter: ClassVar[str]

    async def state(self, context: Context) -> str:
        return await mail_state(context)

    async def all(self, context: Context) -> dict[int, dict[str, Any]]:
        """By number."""
        found = await context.store.read(Objects(context.account.id, self.name))
        return {number: json.loads(value) for number, value in found.objects.items()}

    async def keep(
        self, context: Context, value: Mapping[str, Any], number: int | None = None, most: int | None = None
    ) -> int:
        """A new one, or another value for one that is there; answers its number. Raises SetError."""
        text = json.dumps(value, ensure_ascii=False)
        unit = (
            SetObjects(context.account.id, self.name, (text,), keep=most)
            if number is None
            else SetObjects(context.account.id, self.name, update=((number, text),))
        )
        try:
            answer = await context.store.commit(unit)
        except LimitReached as fault:
            raise SetError("overQuota", str(fault)) from None
        if answer.missing:
            raise SetError("notFound")
        return answer.created[0] if number is None else number

    async def remove(self, context: Context, object_id: str) -> None:
        """Raises SetError."""
        number = number_of(self.letter, object_id)
        if number is None:
            raise SetError("notFound")
        answer = await context.store.commit(SetObjects(context.account.id, self.name, destroy=(number,)))
        if answer.missing:
            raise SetError("notFound")

    async def told_of(
        self, context: Context, there: Mapping[int, dict[str, Any]]
    ) -> Mapping[int, Mapping[str, Any]]:
        """All properties but the id, by number."""
        return there

    async def get(self, context: Context, wanted: Wanted) -> Mapping[str, Mapping[str, Any]]:
        there = await self.all(context)
        if wanted.ids is None and len(there) > wanted.most:
            raise MethodError("requestTooLarge", f"there are {len(there)}: ask for them by id")
        ids = [spell(self.letter, number) for number in there] if wanted.ids is None else wanted.ids
        numbers = {each: number_of(self.letter, each) for each in ids}
        chosen = {number: there[number] for number in numbers.values() if number in there}
        objects = await self.told_of(context, chosen)
        return {
            each: {"id": each, **objects[number]}
            for each, number in numbers.items()
            if number is not None and number in objects
        }

    async def changes(self, context: Context, since: str, most: int | None) -> Changed:
        changed = await context.store.read(ObjectsSince(context.account.id, self.name, modseq_in(since)))
        return told(self.letter, changed, most)
