"""Who may send as whom, and the alarm when an account has sent too much."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.defer import Deferred

from mailftp.accounts.avatars import ISubmitter
from mailftp.intake.authorship import authors, senders
from mailftp.intake.directory import Directory, always
from mailftp.intake.envelope import Envelope
from mailftp.intake.refused import Refused
from mailftp.message import trace
from mailftp.message.address import Address
from mailftp.message.fields import without
from mailftp.store.engine import Store
from mailftp.store.queries import Grants
from mailftp.wire.journal import Journal

#: Seconds between two alarms about one account, and accounts remembered for that.
ALARM_SECONDS = 3600.0
ALARMED = 1000


class Senders:
    """An account sends as itself, with any detail; as an alias, a catch-all's names too, that leads to it
    alone; and as what it was granted. From outside anybody may say anything, our own domains included (a
    mailing list may, and SPF decides better than a rule here). The null reverse-path is everybody's: it is
    for notices.
    """

    def __init__(self, directory: Directory, store: Store, now: Callable[[], float]) -> None:
        self._directory, self._store, self._now = directory, store, now
        #: Account -> until when its alarm is not told again.
        self._alarmed: OrderedDict[str, float] = OrderedDict()

    def check(self, submitter: ISubmitter, sender: Address) -> Deferred[None] | None:
        """Raises or fails with Refused."""
        if submitter.may_send_as(sender):
            return None
        if submitter.account_id is None:
            raise Refused(553, "5.7.1", f"{submitter.address} may not send as {sender}")
        return Deferred.fromCoroutine(self._check(submitter, sender))

    async def _check(self, submitter: ISubmitter, sender: Address) -> None:
        if not await self._may(submitter, sender):
            raise Refused(553, "5.7.1", f"{submitter.address} may not send as {sender}")

    async def _may(self, submitter: ISubmitter, sender: Address) -> bool:
        if submitter.may_send_as(sender):
            return True
        if submitter.account_id is None:
            return False
        if self._directory.is_local(sender):
            found = await always(self._directory.find(sender))
            alias = found.alias
            alone = alias is not None and alias.targets == (submitter.address,) and not alias.owner
            if alone or (found.account is not None and found.account.id == submitter.account_id):
                return True
        granted = {grant.address for grant in await self._store.read(Grants(submitter.account_id))}
        without = self._directory.without_detail(sender) or sender
        return bool(granted & {sender.key, without.key, f"@{sender.domain}"})

    def read_authors(self, envelope: Envelope, header: bytes) -> bytes:
        """Note the authors that are to be checked, and answer the header without a Sender who is not the one
        that sends it. A stranger's name in From is the business of that domain's SPF and DMARC, and what a
        mail program sends on has it."""
        submitter = envelope.origin.submitter
        assert submitter is not None
        envelope.authors = tuple(
            author
            for author in authors(header)
            if self._directory.is_local(author) and not submitter.may_send_as(author)
        )
        if envelope.authors and not all(map(submitter.may_send_as, senders(header))):
            return without(header, ("Sender",))
        return header

    async def check_authors(self, envelope: Envelope, rule: str) -> None:
        """A name of ours in From that is not the submitter's to use: by the rule "enforce" this raises
        Refused; by "mark" a Sender field says who it was (RFC 6409 section 8.1)."""
        submitter = envelope.origin.submitter
        assert submitter is not None
        for author in envelope.authors:
            if await self._may(submitter, author):
                continue
            if rule == "enforce":
                raise Refused(550, "5.7.1", f"{submitter.address} may not write as {author} (From)")
            envelope.sender_field = trace.fold("Sender", [trace.one_line(submitter.address)])

    def alarm(self, envelope: Envelope, what: str, most: int) -> None:
        """Somebody may have stolen a password. Once an hour for an account: a thief tries again and again."""
        submitter = envelope.origin.submitter
        assert submitter is not None
        if self._now() < self._alarmed.get(submitter.address, 0.0):
            return
        self._alarmed[submitter.address] = self._now() + ALARM_SECONDS
        self._alarmed.move_to_end(submitter.address)
        if len(self._alarmed) > ALARMED:
            self._alarmed.popitem(last=False)
        journal, peer = Journal(envelope.origin.context), str(envelope.origin.peer)
        journal.warn("sending limit", name=submitter.address, limit=what, most=most, peer=peer)
