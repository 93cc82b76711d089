"""Which function does each unit and each query."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mailftp.store import queries, units
from mailftp.store.sqlite import (
    accepting,
    accounts,
    aliases,
    appending,
    copying,
    expunging,
    hierarchy,
    listing,
    mailboxes,
    maildrops,
    metadata,
    queue,
    reading,
    searching,
    sweeping,
    texts,
    tracing,
)
from mailftp.store.sqlite.reading import View
from mailftp.store.sqlite.transaction import Transaction

UNITS: dict[type, Callable[[Transaction, Any], Any]] = {
    units.AddAccount: accounts.add_account,
    units.RemoveAccount: accounts.remove_account,
    units.SetVerifier: accounts.set_verifier,
    units.SetAccount: accounts.set_account,
    units.AddAlias: aliases.add_alias,
    units.RemoveAlias: aliases.remove_alias,
    units.GrantAddress: aliases.grant_address,
    units.RevokeAddress: aliases.revoke_address,
    units.Accept: accepting.accept,
    units.CreateMailbox: mailboxes.create_mailbox,
    units.DeleteMailbox: hierarchy.delete_mailbox,
    units.RenameMailbox: hierarchy.rename_mailbox,
    units.SetSubscription: hierarchy.set_subscription,
    units.StoreFlags: mailboxes.store_flags,
    units.Expunge: expunging.expunge,
    units.CopyMessages: copying.copy_messages,
    units.MoveMessages: copying.move_messages,
    units.AppendMessages: appending.append_messages,
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
    sweeping.Sweep: sweeping.sweep,
    sweeping.KeepIndex: sweeping.keep_index,
}

QUERIES: dict[type, Callable[[View, Any], Any]] = {
    queries.Accounts: reading.accounts,
    queries.AccountWithVerifier: reading.account_with_verifier,
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
    queries.ReadReady: texts.read_ready,
    queries.ReadMessages: texts.read_messages,
    queries.SearchMessages: searching.search_messages,
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
}
