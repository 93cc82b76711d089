"""Floor 1: what is kept.

`engine.py` is the contract; `records.py`, `units.py` and `queries.py` are its values. The engines are
`sqlite/` and `memory/`, and one conformance suite (tests/store/conformance.py) holds both to it.

What IMAP and JMAP see, decided once:

- A body is octets, kept once for everybody. An Email (JMAP's Email, IMAP's EMAILID) is a body with one
  recipient's trace header fields: it belongs to one account, never changes and has one thread id for good.
- One Email may be in any number of mailboxes of its account. Flags and UIDs belong to its place in a mailbox.
- An Email that is in no mailbox any more is gone. Its body stays for a grace time, for whoever reads it.
- UIDs are counted by mailbox, modseqs by account, UIDVALIDITY by the whole store; none is given twice.
"""
