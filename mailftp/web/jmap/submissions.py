"""EmailSubmission: RFC 8621 section 7. A message goes the way of one that was submitted by SMTP."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mailftp.store.emails import ObjectsSince
from mailftp.store.queries import QueueList
from mailftp.store.records import QueueFilter, QueueMessage, RecipientState
from mailftp.store.units import ActOnQueue, QueueAction
from mailftp.web.jmap.arguments import Arguments, parse_utc_date
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.datatypes import cannot_calculate
from mailftp.web.jmap.email_set import EmailSetting
from mailftp.web.jmap.faults import MethodError, SetError, invalid_arguments
from mailftp.web.jmap.identities import IdentityType
from mailftp.web.jmap.ids import number_of, spell
from mailftp.web.jmap.objects import KeptType
from mailftp.web.jmap.querying import Found, Operator, Queryable, Sought, Touched, unsupported_sort
from mailftp.web.jmap.registry import SUBMISSION
from mailftp.web.jmap.sending import send
from mailftp.web.jmap.setting import Outcome, Sets, Settable, set_objects
from mailftp.web.jmap.states import modseq_in

#: Submissions that an account's clients can look at; the oldest are forgotten.
KEPT = 1_000
_ALL_STATES = frozenset(RecipientState)
_REPLY = re.compile(r"[2-5][0-9][0-9] ")
_IDS = ("identityIds", "emailIds", "threadIds")


class SubmissionType(KeptType, Queryable, Settable):
    name = "EmailSubmission"
    capability = SUBMISSION
    letter = "S"
    properties = (
        "id",
        "identityId",
        "emailId",
        "threadId",
        "envelope",
        "sendAt",
        "undoStatus",
        "deliveryStatus",
        "dsnBlobIds",
        "mdnBlobIds",
    )

    def __init__(self, identities: IdentityType) -> None:
        self._identities = identities

    # EmailSubmission/get.

    async def told_of(
        self, context: Context, there: Mapping[int, dict[str, Any]]
    ) -> Mapping[int, Mapping[str, Any]]:
        queued = await _queued(context, [each["queued"] for each in there.values()])
        return {number: _told(each, queued.get(each["queued"])) for number, each in there.items()}

    # EmailSubmission/query.

    def read_condition(self, context: Context, condition: Arguments) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name in _IDS:
            if name in condition:
                made[name] = frozenset(condition.ids(name))
        if "undoStatus" in condition:
            made["undoStatus"] = condition.string("undoStatus")
        for name in ("before", "after"):
            if name in condition:
                made[name] = condition.utc_date(name)
        return made

    def read_comparator(self, name: str, comparator: Arguments) -> None:
        if name not in ("emailId", "threadId", "sentAt"):
            raise unsupported_sort(name)

    async def query(self, context: Context, sought: Sought) -> Found:
        state = await self.state(context)
        objects = await self.told_of(context, await self.all(context))
        numbers = [number for number, each in objects.items() if _passes(sought.filter, each)]
        for comparator in reversed(sought.sort):
            name = "sendAt" if comparator.property == "sentAt" else comparator.property
            numbers.sort(key=lambda number: objects[number][name], reverse=not comparator.ascending)
        return Found(
            state, numbers, lambda number: spell("S", number), lambda text: number_of("S", text), False
        )

    async def touched(self, context: Context, sought: Sought, since: str) -> Touched:
        changed = await context.store.read(ObjectsSince(context.account.id, self.name, modseq_in(since)))
        if changed is None or changed.modseq != int(since):
            raise cannot_calculate("submissions change by themselves: ask anew")
        return Touched(())

    # EmailSubmission/set.

    def read_set_arguments(self, arguments: Arguments) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        update = arguments.mapping("onSuccessUpdateEmail", None, nullable=True) or {}
        if not all(isinstance(patch, dict) for patch in update.values()):
            raise invalid_arguments("a value of onSuccessUpdateEmail is no object")
        return update, arguments.ids("onSuccessDestroyEmail", None, nullable=True) or ()

    async def set(self, context: Context, sets: Sets, outcome: Outcome) -> None:
        there = await self.all(context)
        identities = await self._identities.all(context)
        emails: dict[str, str] = {}
        for name, given in sets.create.items():
            try:
                made = await send(context, given, identities)
                number = await self.keep(context, made, most=KEPT)
            except SetError as error:
                outcome.not_created[name] = error
                continue
            emails[f"#{name}"] = emails[spell("S", number)] = made["emailId"]
            outcome.created[name] = {
                "id": spell("S", number),
                "threadId": made["threadId"],
                "sendAt": made["sendAt"],
                "undoStatus": made["undoStatus"],
            }
        for object_id, patch in sets.update.items():
            try:
                await self._update(context, there, object_id, patch)
                outcome.updated[object_id] = None
            except SetError as error:
                outcome.not_updated[object_id] = error
        for object_id in sets.destroy:
            try:
                await self.remove(context, object_id)
                outcome.destroyed.append(object_id)
            except SetError as error:
                outcome.not_destroyed[object_id] = error
        for object_id in (*outcome.updated, *outcome.destroyed):
            number_there = number_of("S", object_id)
            if number_there is not None:
                emails[object_id] = there[number_there]["emailId"]
        await _on_success(context, sets.extra, emails)

    async def _update(
        self,
        context: Context,
        there: Mapping[int, dict[str, Any]],
        object_id: str,
        patch: Mapping[str, Any],
    ) -> None:
        """Only undoing. Raises SetError."""
        number = number_of("S", object_id)
        if number is None or number not in there:
            raise SetError("notFound")
        known = there[number]
        told = (await self.told_of(context, {number: known}))[number]
        if any(name != "undoStatus" for name in patch):
            others = [name for name in patch if name != "undoStatus"]
            raise SetError("invalidProperties", "only undoStatus can be changed", properties=others)
        wanted = patch.get("undoStatus", told["undoStatus"])
        if wanted == told["undoStatus"]:
            return
        if wanted != "canceled":
            raise SetError("invalidProperties", "it can be canceled", properties=["undoStatus"])
        if told["undoStatus"] != "pending" or not await _cancel(context, known["queued"]):
            raise SetError("cannotUnsend", "it is on its way already")
        await self.keep(context, {**known, "undoStatus": "canceled"}, number)


async def _queued(context: Context, ids: list[int]) -> dict[int, QueueMessage]:
    wanted = tuple(number for number in ids if number)
    if not wanted:
        return {}
    found = await context.store.read(QueueList(QueueFilter(ids=wanted, states=_ALL_STATES), len(wanted)))
    return {message.id: message for message in found}


async def _cancel(context: Context, queued: int) -> bool:
    """Whether nobody has had it. The queue drops what is being tried when that ends, so it is looked at
    after."""
    message = (await _queued(context, [queued])).get(queued)
    if message is None or not all(
        each.state is RecipientState.WAITING and each.attempt == 1 and not each.lease_owner
        for each in message.recipients
    ):
        return False
    await context.store.commit(ActOnQueue(QueueAction.DROP, (queued,)))
    message = (await _queued(context, [queued])).get(queued)
    return message is not None and all(each.state is RecipientState.DROPPED for each in message.recipients)


def _told(known: Mapping[str, Any], message: QueueMessage | None) -> Mapping[str, Any]:
    undo = known["undoStatus"]
    if undo == "pending" and (
        message is None
        or any(
            each.state is not RecipientState.WAITING or each.attempt > 1 or each.lease_owner
            for each in message.recipients
        )
    ):
        undo = "final"
    return {
        **{name: known[name] for name in ("identityId", "emailId", "threadId", "envelope", "sendAt")},
        "undoStatus": undo,
        "deliveryStatus": _delivery(known, message, undo),
        "dsnBlobIds": [],
        "mdnBlobIds": [],
    }


def _delivery(known: Mapping[str, Any], message: QueueMessage | None, undo: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    there = {each.address: each for each in message.recipients} if message is not None else {}
    for address in known["recipients"]:
        recipient = there.get(address)
        if undo == "canceled":
            reply, delivered = "550 5.7.0 canceled by its sender", "no"
        elif recipient is None:
            filed = address in known["filed"]
            reply = "250 2.1.5 filed here" if filed else "250 2.0.0 it has left this server"
            delivered = "yes" if filed else "unknown"
        elif recipient.state in (RecipientState.WAITING, RecipientState.HELD):
            reply, delivered = recipient.last_error or "250 2.0.0 queued", "queued"
        elif recipient.state is RecipientState.DELIVERED:
            reply, delivered = recipient.last_error or "250 2.0.0 relayed", "unknown"
        else:
            reply, delivered = recipient.last_error or "550 5.0.0 given up", "no"
        if _REPLY.match(reply) is None:
            reply = f"{'451 4.4.0' if delivered == 'queued' else '554 5.0.0'} {reply}"
        made[address] = {"smtpReply": reply, "delivered": delivered, "displayed": "unknown"}
    return made


def _passes(condition: Any, each: Mapping[str, Any]) -> bool:
    if condition is None:
        return True
    if isinstance(condition, Operator):
        if condition.operator == "AND":
            return all(_passes(one, each) for one in condition.conditions)
        some = any(_passes(one, each) for one in condition.conditions)
        return some if condition.operator == "OR" else not some
    at = parse_utc_date(each["sendAt"]) or 0.0
    return (
        all(each[name.removesuffix("s")] in condition[name] for name in _IDS if name in condition)
        and condition.get("undoStatus", each["undoStatus"]) == each["undoStatus"]
        and ("before" not in condition or at < condition["before"])
        and ("after" not in condition or at >= condition["after"])
    )


async def _on_success(
    context: Context, extra: tuple[Mapping[str, Any], tuple[str, ...]], emails: Mapping[str, str]
) -> None:
    """One implicit Email/set (section 7.5) for those that succeeded."""
    update = {emails[each]: patch for each, patch in extra[0].items() if each in emails}
    destroy = list(dict.fromkeys(emails[each] for each in extra[1] if each in emails))
    if not update and not destroy:
        return
    arguments = Arguments({"accountId": context.account_id, "update": update, "destroy": destroy})
    try:
        context.implicit.append(("Email/set", await set_objects(EmailSetting(), context, arguments)))
    except MethodError as error:
        context.implicit.append(("error", error.arguments))
