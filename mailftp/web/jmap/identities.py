"""Identity: RFC 8621 section 6. An account has one for its own address, which stays; what else it may send as
is the same as in SMTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred

from mailftp.accounts.realm import Submitter
from mailftp.intake.intake import Origin, Refused
from mailftp.message.address import AddressFault, parse_address
from mailftp.message.header_writing import FieldFault, addresses_field, check_text
from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.faults import SetError
from mailftp.web.jmap.ids import number_of, spell
from mailftp.web.jmap.objects import KeptType
from mailftp.web.jmap.registry import SUBMISSION
from mailftp.web.jmap.setting import Outcome, Sets, Settable
from mailftp.wire.peer import Peer

#: Characters of a signature.
_SIGNATURE = 64 * 1024
_TEXTS = ("name", "textSignature", "htmlSignature")
_ADDRESSES = ("replyTo", "bcc")


def origin_of(context: Context) -> Origin:
    """Who submits, for mailftp.intake."""
    account = context.account
    submitter = Submitter(account.address, account.id)
    return Origin(Peer(None), "jmap", "HTTP", context.journal.context, submitter)


class IdentityType(KeptType, Settable):
    name = "Identity"
    capability = SUBMISSION
    letter = "I"
    properties = ("id", "name", "email", "replyTo", "bcc", "textSignature", "htmlSignature", "mayDelete")

    async def all(self, context: Context) -> dict[int, dict[str, Any]]:
        """With the one of the account's own address, which is made when it is first asked for."""
        there = await super().all(context)
        if not any(each.get("own") for each in there.values()):
            made = {"own": True, **_empty(context.account.address)}
            there[await self.keep(context, made)] = made
        return there

    async def state(self, context: Context) -> str:
        # Before the state is told: it is not to be news to who has just read all.
        await self.all(context)
        return await super().state(context)

    async def told_of(
        self, context: Context, there: Mapping[int, dict[str, Any]]
    ) -> Mapping[int, Mapping[str, Any]]:
        return {number: {**each, "mayDelete": not each.get("own")} for number, each in there.items()}

    async def set(self, context: Context, sets: Sets, outcome: Outcome) -> None:
        there = await self.all(context)
        for name, given in sets.create.items():
            try:
                made = {"own": False, **_empty(""), **_values(given, new=True)}
                await _check_sender(context, made["email"])
                number = await self.keep(context, made)
                outcome.created[name] = {"id": spell(self.letter, number), "mayDelete": True}
            except SetError as error:
                outcome.not_created[name] = error
        for object_id, patch in sets.update.items():
            try:
                known = number_of(self.letter, object_id)
                if known is None or known not in there:
                    raise SetError("notFound")
                await self.keep(context, {**there[known], **_values(patch, new=False)}, known)
                outcome.updated[object_id] = None
            except SetError as error:
                outcome.not_updated[object_id] = error
        for object_id in sets.destroy:
            try:
                known = number_of(self.letter, object_id)
                if known is not None and there.get(known, {}).get("own"):
                    raise SetError("forbidden", "the identity of the account's own address stays")
                await self.remove(context, object_id)
                outcome.destroyed.append(object_id)
            except SetError as error:
                outcome.not_destroyed[object_id] = error


def _empty(email: str) -> dict[str, Any]:
    return {
        "name": "",
        "email": email,
        "replyTo": None,
        "bcc": None,
        "textSignature": "",
        "htmlSignature": "",
    }


def _values(given: Mapping[str, Any], *, new: bool) -> dict[str, Any]:
    """Raises SetError."""
    values = Arguments(given, lambda text: SetError("invalidProperties", text), "the identity")
    made: dict[str, Any] = {}
    for name in _TEXTS:
        if name in values:
            text = values.string(name)
            if len(text) > _SIGNATURE:
                raise SetError("invalidProperties", f"at most {_SIGNATURE} characters", properties=[name])
            made[name] = text
    for name in _ADDRESSES:
        if name in values:
            made[name] = values.objects(name, nullable=True)
    if new:
        made["email"] = values.string("email")
    elif "email" in values:
        raise SetError("invalidProperties", "an identity keeps its address", properties=["email"])
    values.done()
    try:
        check_text(made.get("name", ""))
        for name in _ADDRESSES:
            for each in made.get(name) or ():
                addresses_field("To", [(None, [(each.get("name"), each["email"])])])
                if each.keys() - {"name", "email"}:
                    raise FieldFault("an address is an object of name and email")
    except (FieldFault, KeyError, TypeError, AttributeError):
        raise SetError("invalidProperties", "a name or an address is none") from None
    return made


async def _check_sender(context: Context, email: str) -> None:
    """Raises SetError where the account may not send as that. "*@domain" is as RFC 8621 section 6 has it."""
    intake = context.ground.intake
    assert intake is not None, "the capability is offered with an intake alone"
    try:
        address = parse_address(email.replace("*", "any", 1) if email.startswith("*@") else email)
        waiting = intake.sender(origin_of(context), address)
        if isinstance(waiting, Deferred):
            await waiting
    except AddressFault as fault:
        raise SetError("invalidProperties", str(fault), properties=["email"]) from None
    except Refused as refused:
        raise SetError("forbiddenFrom", refused.text) from None
