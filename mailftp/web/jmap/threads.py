"""Thread: RFC 8621 section 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailftp.store.emails import ThreadsById, ThreadsSince
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.datatypes import Changed, Changing, Gettable, Wanted
from mailftp.web.jmap.faults import MethodError
from mailftp.web.jmap.ids import EMAIL, THREAD, numbers_of, spell
from mailftp.web.jmap.states import mail_state, modseq_in, told


class ThreadType(Gettable, Changing):
    name = "Thread"
    properties = ("id", "emailIds")

    async def state(self, context: Context) -> str:
        return await mail_state(context)

    async def get(self, context: Context, wanted: Wanted) -> Mapping[str, Mapping[str, Any]]:
        """Thread/get, section 3.1."""
        if wanted.ids is None:
            raise MethodError("requestTooLarge", "ask for threads by id")
        asked = numbers_of(THREAD, wanted.ids)
        found = await context.store.read(ThreadsById(context.account.id, tuple(asked)))
        return {
            name: {"id": name, "emailIds": [spell(EMAIL, each) for each in found.threads[number]]}
            for number, name in asked.items()
            if number in found.threads
        }

    async def changes(self, context: Context, since: str, most: int | None) -> Changed:
        """Thread/changes, section 3.2."""
        changed = await context.store.read(ThreadsSince(context.account.id, modseq_in(since)))
        return told(THREAD, changed, most)
