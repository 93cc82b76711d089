"""Email/set: RFC 8621 section 4.6."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mailftp.store.email_units import EmailPatch, PutEmail, SetEmails, StateMismatch
from mailftp.store.engine import NoSuchMailbox, OverQuota, StoreFault, StoreFull
from mailftp.store.records import StagedBody
from mailftp.store.units import NewMessage
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.email_creation import compose_email
from mailftp.web.jmap.email_patches import read_patch
from mailftp.web.jmap.faults import MethodError, SetError
from mailftp.web.jmap.ids import EMAIL, THREAD, number_of, spell
from mailftp.web.jmap.setting import Outcome, Sets, Settable
from mailftp.web.jmap.states import mail_state


class EmailSetting(Settable):
    name = "Email"
    properties = ("id", "mailboxIds", "keywords")

    async def state(self, context: Context) -> str:
        return await mail_state(context)

    async def set(self, context: Context, sets: Sets, outcome: Outcome) -> None:
        for name, given in sets.create.items():
            try:
                outcome.created[name] = await create_email(context, given)
            except SetError as error:
                outcome.not_created[name] = error
        patches: list[EmailPatch] = []
        for email_id, patch in sets.update.items():
            try:
                patches.append(read_patch(context, email_id, patch))
            except SetError as error:
                outcome.not_updated[email_id] = error
        destroy = []
        for email_id in sets.destroy:
            number = number_of(EMAIL, email_id)
            if number is None:
                outcome.not_destroyed[email_id] = SetError("notFound")
            else:
                destroy.append(number)
        if not patches and not destroy:
            return
        # What was created has moved the state on.
        state = int(sets.if_in_state) if sets.if_in_state is not None and not sets.create else None
        unit = SetEmails(context.account.id, tuple(patches), tuple(destroy), state)
        try:
            answer = await context.store.commit(unit)
        except StateMismatch as fault:
            raise MethodError("stateMismatch", str(fault)) from None
        for each in patches:
            email_id = spell(EMAIL, each.email_id)
            if each.email_id in answer.faults:
                outcome.not_updated[email_id] = _refused(answer.faults[each.email_id])
            else:
                outcome.updated[email_id] = None
        for number in destroy:
            if number in answer.faults:
                outcome.not_destroyed[spell(EMAIL, number)] = SetError(answer.faults[number])
            else:
                outcome.destroyed.append(spell(EMAIL, number))


def _refused(kind: str) -> SetError:
    if kind == "invalidProperties":
        words = "there is no such mailbox, or none would be left"
        return SetError(kind, words, properties=["mailboxIds"])
    return SetError(kind)


async def create_email(context: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Raises SetError."""
    made = await compose_email(context, given)
    pieces = await context.ground.run(lambda: b"".join(made.pieces()))
    body = await stage(context, [pieces])
    return await put_email(context, NewMessage(body, made.received, made.flags), made.mailbox_ids)


async def stage(context: Context, pieces: Iterable[bytes]) -> StagedBody:
    """Raises SetError."""
    sink = context.store.stage()
    try:
        for piece in pieces:
            wait = sink.write(piece)
            if wait is not None:
                await wait
        return await sink.finish()
    except StoreFull:
        sink.abort()
        raise SetError("serverFail", "the disk is full, try again later") from None
    except BaseException:
        sink.abort()
        raise


async def put_email(context: Context, message: NewMessage, mailbox_ids: Iterable[int]) -> Mapping[str, Any]:
    """The properties that the server sets. Raises SetError."""
    unit = PutEmail(context.account.id, message, tuple(sorted(mailbox_ids)))
    try:
        email_id, thread_id = await context.store.commit(unit)
    except OverQuota:
        raise SetError("overQuota", "the mailbox is full: delete something first") from None
    except NoSuchMailbox as fault:
        raise SetError("invalidProperties", str(fault), properties=["mailboxIds"]) from None
    except StoreFault as fault:
        context.journal.warn("method failed", method="Email/set", reason=str(fault))
        raise SetError("serverFail", str(fault)) from None
    return {
        "id": spell(EMAIL, email_id),
        "blobId": f"B{email_id}",
        "threadId": spell(THREAD, thread_id),
        "size": message.body.size,
    }
