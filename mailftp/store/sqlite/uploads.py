"""What clients have uploaded, until something names it."""

from __future__ import annotations

import json

from mailftp.store.engine import SMALL_BODY, MissingBody
from mailftp.store.records import BodyRef
from mailftp.store.sqlite.accepting import keep_body
from mailftp.store.sqlite.reading import View
from mailftp.store.sqlite.transaction import Transaction
from mailftp.store.uploads import UPLOAD_AGE, UPLOADS_LIMIT, UPLOADS_OCTETS, KeepUpload, Upload, UploadsById


def keep_upload(tx: Transaction, unit: KeepUpload) -> Upload:
    ready = tx.bodies.get(unit.body.sha256)
    if ready is None:
        raise MissingBody("this body was never staged here")
    body_id = keep_body(tx, unit.body, ready)
    made = tx.insert(
        "INSERT INTO uploads (account_id, body_id, size, created) VALUES (?, ?, ?, ?)",
        (unit.account_id, body_id, ready.size, tx.now),
    )
    _make_room(tx, unit.account_id, made)
    return Upload(made, BodyRef(body_id, ready.size, ready.size > SMALL_BODY))


def _make_room(tx: Transaction, account_id: int, newest: int) -> None:
    octets, beyond = 0, []
    rows = tx.all("SELECT id, size FROM uploads WHERE account_id = ? ORDER BY id DESC", (account_id,))
    for at, (upload_id, size) in enumerate(rows):
        octets += size
        if upload_id != newest and (at >= UPLOADS_LIMIT or octets > UPLOADS_OCTETS):
            beyond.append(upload_id)
    if beyond:
        gone = tx.all(
            "DELETE FROM uploads WHERE id IN (SELECT value FROM json_each(?)) RETURNING body_id",
            (json.dumps(beyond),),
        )
        _let_go(tx, gone)


def forget_uploads(tx: Transaction, most: int) -> int:
    """Those that are too old; answers how many."""
    gone = tx.all(
        "DELETE FROM uploads WHERE id IN (SELECT id FROM uploads WHERE created <= ? LIMIT ?)"
        " RETURNING body_id",
        (tx.now - UPLOAD_AGE, most),
    )
    _let_go(tx, gone)
    return len(gone)


def _let_go(tx: Transaction, bodies: list[tuple[int]]) -> None:
    # Whether something else names them is asked when they are swept.
    tx.each(
        "INSERT OR IGNORE INTO unused_bodies (body_id, since) VALUES (?, ?)",
        [(body_id, tx.now) for (body_id,) in bodies],
    )


def uploads_by_id(view: View, query: UploadsById) -> tuple[Upload, ...]:
    rows = view.all(
        "SELECT u.id, body_id, u.size FROM json_each(?) JOIN uploads AS u ON u.id = value"
        " WHERE account_id = ? ORDER BY u.id",
        (json.dumps(sorted(set(query.upload_ids))), query.account_id),
    )
    return tuple(Upload(number, BodyRef(body_id, size, size > SMALL_BODY)) for number, body_id, size in rows)
