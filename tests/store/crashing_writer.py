"""A process that accepts mail until it is killed: `python crashing_writer.py FOLDER SEED`.

Each line that it prints is a ledger entry of what was acknowledged: UID, size and SHA-256 of the body.
Run by tests/store/test_crash.py.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from mailftp.store.records import Filing, Verifier
from mailftp.store.sqlite import SQLiteStore
from mailftp.store.units import Accept, AddAccount
from tests.store.messages import message, staged

SENDERS = 8


async def main(reactor_: object, folder: str, seed: str) -> None:
    chance = random.Random(seed)
    store = SQLiteStore(Path(folder, "mail.sqlite"), Path(folder, "blobs"), reactor, reactor)
    await store.start()
    account = await store.commit(AddAccount(f"bob-{seed}@example.test", Verifier("x")))
    print(account.id, flush=True)

    async def send() -> None:
        while True:
            size = chance.choice((10, 1000, 5000, 60_000, 70_000, 200_000))
            data = message(body=chance.randbytes(8).hex().encode() * (size // 16 + 1))
            body = await staged(store, data)
            accepted = await store.commit(Accept(body, 1.7e9, (Filing(account.id),)))
            print(accepted.filed[0][2], body.size, body.sha256.hex(), flush=True)

    await gatherResults([Deferred.fromCoroutine(send()) for _ in range(SENDERS)])


if __name__ == "__main__":
    react(main, sys.argv[1:])
