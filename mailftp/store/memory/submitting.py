"""What an account sends, in the plain engine."""

from __future__ import annotations

from mailftp.store.engine import SendingLimit
from mailftp.store.memory.state import Box, State
from mailftp.store.names import SENT, SENT_FLAGS, effective
from mailftp.store.records import Filing
from mailftp.store.units import Accept, Submission


def check_submission(state: State, submission: Submission) -> None:
    """Raises SendingLimit, NoSuchAccount."""
    holder = state.holder(submission.account_id)
    if not submission.recipients:
        return
    day, messages, new_recipients = holder.sent
    if day != int(state.now() // 86400):
        messages = new_recipients = 0
    new = len(set(submission.recipients) - holder.correspondents)
    account = holder.account
    for what, there, own, general in (
        ("messages", messages + 1, account.daily_messages, submission.daily_messages),
        (
            "new recipients",
            new_recipients + new,
            account.daily_new_recipients,
            submission.daily_new_recipients,
        ),
    ):
        most = effective(own, general)
        if most and there > most:
            raise SendingLimit(what, most)


def note_submission(state: State, submission: Submission) -> None:
    """Count what was checked."""
    if not submission.recipients:
        return
    holder, today = state.holder(submission.account_id), int(state.now() // 86400)
    day, messages, new_recipients = holder.sent
    if day != today:
        messages = new_recipients = 0
    new = set(submission.recipients) - holder.correspondents
    holder.correspondents |= new
    holder.sent = (today, messages + 1, new_recipients + len(new))


def copies(state: State, unit: Accept) -> tuple[Filing, ...]:
    """Where it is filed besides."""
    submission = unit.submission
    if submission is None:
        return ()
    holder = state.holder(submission.account_id)
    if not holder.account.file_sent:
        return ()
    box = _sent_box(holder.boxes)
    there = box is not None and any(
        state.bodies[message.body.id].sha256 == unit.body.sha256 for message in box.messages.values()
    )
    name = box.mailbox.name if box is not None else SENT
    return () if there else (Filing(submission.account_id, name, SENT_FLAGS, submission.copy_prefix),)


def _sent_box(boxes: dict[str, Box]) -> Box | None:
    sent = sorted(
        (box.mailbox.special_use != "\\Sent", box.mailbox.id, name)
        for name, box in boxes.items()
        if box.mailbox.special_use == "\\Sent" or name == SENT
    )
    return boxes[sent[0][2]] if sent else None
