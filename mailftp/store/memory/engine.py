"""The plain engine's public face."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed

from mailftp.message.index import MessageIndex, index_message
from mailftp.store import email_units, emails, queries, units
from mailftp.store import uploads as store_uploads
from mailftp.store.engine import HISTORY, Store, StoreFault
from mailftp.store.feed import Feed, Hear, merge
from mailftp.store.memory import (
    aliases,
    app_passwords,
    appending,
    copying,
    email_writing,
    hierarchy,
    listing,
    mail,
    maildrops,
    metadata,
    objects,
    queue,
    reading,
    searching,
    sorting,
    suppressing,
    tls_memory,
    tracing,
    uploads,
    web_sessions,
)
from mailftp.store.memory import emails as by_email
from mailftp.store.memory.state import State
from mailftp.store.quota import MailQuota
from mailftp.store.records import StagedBody

R = TypeVar("R")

_UNITS: dict[type, Callable[[State, Any], Any]] = {
    units.AddAccount: mail.add_account,
    units.RemoveAccount: mail.remove_account,
    units.SetVerifier: mail.set_verifier,
    units.SetAccount: mail.set_account,
    units.AddAppPassword: app_passwords.add_app_password,
    units.RemoveAppPasswords: app_passwords.remove_app_passwords,
    units.NoteAppPasswordUse: app_passwords.note_app_password_use,
    units.OpenWebSession: web_sessions.open_session,
    units.UseWebSession: web_sessions.use_session,
    units.CloseWebSessions: web_sessions.close_sessions,
    units.AddAlias: aliases.add_alias,
    units.RemoveAlias: aliases.remove_alias,
    units.GrantAddress: aliases.grant_address,
    units.RevokeAddress: aliases.revoke_address,
    units.Accept: mail.accept,
    units.CreateMailbox: mail.create_mailbox,
    units.DeleteMailbox: hierarchy.delete_mailbox,
    units.RenameMailbox: hierarchy.rename_mailbox,
    units.SetSubscription: hierarchy.set_subscription,
    units.StoreFlags: mail.store_flags,
    units.Expunge: mail.expunge,
    units.CopyMessages: copying.copy_messages,
    units.MoveMessages: copying.move_messages,
    units.AppendMessages: appending.append_messages,
    email_units.SetEmails: email_writing.set_emails,
    email_units.PutEmail: email_writing.put_email,
    email_units.PutMailbox: email_writing.put_mailbox,
    email_units.RemoveMailbox: email_writing.remove_mailbox,
    email_units.SetObjects: objects.set_objects,
    units.SetMetadata: metadata.set_metadata,
    units.SetUidls: maildrops.set_uidls,
    units.NoteRetrieved: maildrops.note_retrieved,
    units.ExpireRetrieved: maildrops.expire_retrieved,
    units.VoidLeases: queue.void_leases,
    units.LeaseDue: queue.lease_due,
    units.RenewLeases: queue.renew_leases,
    units.RecordOutcomes: queue.record_outcomes,
    units.ActOnQueue: queue.act_on_queue,
    units.SetRoute: queue.set_route,
    units.NoteRefusedAddress: suppressing.note_refused_address,
    units.Suppress: suppressing.suppress,
    units.Unsuppress: suppressing.unsuppress,
    units.RememberTLS: tls_memory.remember_tls,
    units.ForgetTLS: tls_memory.forget_tls,
    store_uploads.KeepUpload: uploads.keep_upload,
}

_QUERIES: dict[type, Callable[[State, Any], Any]] = {
    queries.Accounts: reading.accounts,
    queries.AccountWithVerifier: app_passwords.account_with_verifier,
    queries.AppPasswords: app_passwords.app_passwords,
    queries.Suppressions: suppressing.suppressions,
    queries.FindTLSMemory: tls_memory.find_tls_memory,
    queries.TLSMemories: tls_memory.tls_memories,
    queries.FindWebSession: web_sessions.find_session,
    queries.WebSessions: web_sessions.list_sessions,
    queries.Named: aliases.named,
    queries.Aliases: aliases.aliases,
    queries.Grants: aliases.grants,
    queries.ReturnTo: aliases.return_to,
    queries.Mailboxes: reading.mailboxes,
    queries.Subscriptions: reading.subscriptions,
    queries.MailboxSince: reading.mailbox_since,
    queries.ListMailbox: listing.list_mailbox,
    queries.ListStatus: listing.list_status,
    queries.ListPlaces: listing.list_places,
    emails.EmailsById: by_email.emails_by_id,
    emails.ThreadsById: by_email.threads_by_id,
    emails.ListEmails: by_email.list_emails,
    emails.CountMailboxes: by_email.count_mailboxes,
    emails.Objects: objects.objects,
    emails.ObjectsSince: objects.objects_since,
    emails.EmailsSince: by_email.emails_since,
    emails.ThreadsSince: by_email.threads_since,
    emails.MailboxesSince: by_email.mailboxes_since,
    queries.ReadReady: listing.read_ready,
    queries.ReadMessages: listing.read_messages,
    queries.SearchColumns: searching.search_columns,
    queries.SearchMessages: searching.search_messages,
    queries.SearchIndex: searching.search_index,
    queries.SortMessages: sorting.sort_messages,
    queries.ThreadMessages: sorting.thread_messages,
    queries.ListMaildrop: maildrops.list_maildrop,
    queries.Copies: maildrops.copies,
    queries.Bodies: reading.bodies,
    queries.OpenBody: reading.open_body,
    queries.ReadStart: reading.read_start,
    queries.Indexes: reading.indexes,
    queries.Metadata: metadata.read_metadata,
    queries.MailUsage: reading.mail_usage,
    queries.TraceMail: tracing.trace_mail,
    queries.QueueList: reading.queue_list,
    queries.QueueAttempts: reading.queue_attempts,
    queries.NextDue: reading.next_due,
    queries.QueueDepth: reading.queue_depth,
    store_uploads.UploadsById: uploads.uploads_by_id,
}


class _MemorySink:
    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def write(self, data: bytes) -> None:
        self._chunks.append(data)

    def finish(self) -> Deferred[StagedBody]:
        data = b"".join(self._chunks)
        return succeed(StagedBody(len(data), sha256(data).digest(), data))

    def abort(self) -> None:
        self._chunks.clear()


class MemoryStore(Store):
    """`now` gives seconds since the epoch (a test passes its clock's `seconds`); `mail_quota` and
    `message_quota` hold for accounts that have none of their own, `history` as in SQLiteStore."""

    def __init__(
        self,
        now: Callable[[], float] = time.time,
        mail_quota: int | None = None,
        index: Callable[[bytes | memoryview], MessageIndex] = index_message,
        history: float = HISTORY,
        message_quota: int | None = None,
    ) -> None:
        self._state = State(now, MailQuota(mail_quota, message_quota), index, history)
        self._feed = Feed()
        self._open = False

    def start(self) -> Deferred[None]:
        self._open = True
        return succeed(None)

    def stop(self) -> Deferred[None]:
        self._open = False
        return succeed(None)

    def stage(self) -> _MemorySink:
        return _MemorySink()

    def commit(self, unit: units.Unit[R]) -> Deferred[R]:
        if not self._open:
            return fail(StoreFault("the store is not open"))
        state = self._state
        uploads.forget_uploads(state)
        state.sweep()
        queue.sweep(state)
        answer: Deferred[R] = maybeDeferred(_UNITS[type(unit)], state, unit)
        changes, state.changes = state.changes, []
        self._feed.tell(merge(changes), self._feed.present())
        return answer

    def read(self, query: queries.Query[R]) -> Deferred[R]:
        if not self._open:
            return fail(StoreFault("the store is not open"))
        answer: Deferred[R] = maybeDeferred(_QUERIES[type(query)], self._state, query)
        return answer

    def subscribe(self, hear: Hear) -> Feed.Subscription:
        return self._feed.subscribe(hear)
