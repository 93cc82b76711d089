"""What Email/set says of an Email's mailboxes and keywords: RFC 8621 section 4.6."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailftp.store.email_units import EmailPatch, FlagsPatch, MailboxPatch
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.faults import MethodError, SetError
from mailftp.web.jmap.ids import EMAIL, MAILBOX, number_of
from mailftp.web.jmap.keywords import check_keyword, flag_of
from mailftp.web.jmap.patching import steps_of


def flags_in(given: Any) -> frozenset[str]:
    """Of a whole `keywords`. Raises SetError."""
    return frozenset(_flag(keyword) for keyword in _true_keys(given, "keywords"))


def mailboxes_in(context: Context, given: Any) -> frozenset[int]:
    """Of a whole `mailboxIds`. Raises SetError."""
    found = frozenset(_mailbox(context, each) for each in _true_keys(given, "mailboxIds"))
    if not found:
        raise SetError("invalidProperties", "an Email is in a mailbox", properties=["mailboxIds"])
    return found


def _true_keys(given: Any, name: str) -> list[str]:
    if not isinstance(given, dict) or any(value is not True for value in given.values()):
        raise SetError("invalidProperties", f"{name} is a map of true", properties=[name])
    return list(given)


def _flag(keyword: str) -> str:
    try:
        return flag_of(check_keyword(keyword))
    except MethodError as error:
        words = str(error.arguments.get("description", ""))
        raise SetError("invalidProperties", words, properties=["keywords"]) from None


def _mailbox(context: Context, given: str) -> int:
    name = context.resolved(given)
    number = number_of(MAILBOX, name) if name is not None else None
    if number is None:
        raise SetError("invalidProperties", "there is no such mailbox", properties=["mailboxIds"])
    return number


def read_patch(context: Context, email_id: str, patch: Mapping[str, Any]) -> EmailPatch:
    """Raises SetError."""
    number = number_of(EMAIL, email_id)
    if number is None:
        raise SetError("notFound")
    whole: dict[str, Any] = {}
    single: dict[str, dict[str, bool]] = {"keywords": {}, "mailboxIds": {}}
    for path, value in patch.items():
        steps = steps_of(path)
        if steps[0] not in single or len(steps) > 2:
            raise SetError("invalidProperties", "that cannot be changed", properties=[path[:200]])
        if len(steps) == 1:
            # null is the default: no keywords, and for mailboxes an error.
            whole[steps[0]] = {} if value is None else value
        elif value is not True and value is not None:
            raise SetError("invalidPatch", "it is true, or null")
        else:
            single[steps[0]][steps[1]] = value is True
    for name in whole:
        if single[name]:
            raise SetError("invalidPatch", "one key is the beginning of another")
    return EmailPatch(number, _mailbox_patch(context, whole, single), _flags_patch(whole, single))


def _mailbox_patch(
    context: Context, whole: Mapping[str, Any], single: Mapping[str, Mapping[str, bool]]
) -> MailboxPatch | None:
    if "mailboxIds" in whole:
        return MailboxPatch(mailboxes_in(context, whole["mailboxIds"]), replace=True)
    named = single["mailboxIds"]
    if not named:
        return None
    add = frozenset(_mailbox(context, each) for each, there in named.items() if there)
    return MailboxPatch(add, frozenset(_mailbox(context, each) for each, there in named.items() if not there))


def _flags_patch(whole: Mapping[str, Any], single: Mapping[str, Mapping[str, bool]]) -> FlagsPatch | None:
    if "keywords" in whole:
        return FlagsPatch(flags_in(whole["keywords"]), replace=True)
    named = single["keywords"]
    if not named:
        return None
    add = frozenset(_flag(each) for each, there in named.items() if there)
    return FlagsPatch(add, frozenset(_flag(each) for each, there in named.items() if not there))
