"""What clients have uploaded, of the plain engine."""

from __future__ import annotations

from mailftp.store.memory.state import State, Uploaded
from mailftp.store.uploads import UPLOAD_AGE, UPLOADS_LIMIT, UPLOADS_OCTETS, KeepUpload, Upload, UploadsById


def keep_upload(state: State, unit: KeepUpload) -> Upload:
    body = state.take_body(unit.body)
    body.holders += 1
    made = state.next_id("upload")
    state.uploads[made] = Uploaded(unit.account_id, body.ref, state.now())
    octets = 0
    own = [number for number, each in state.uploads.items() if each.account_id == unit.account_id]
    for at, number in enumerate(reversed(own)):
        octets += state.uploads[number].body.size
        if number != made and (at >= UPLOADS_LIMIT or octets > UPLOADS_OCTETS):
            state.let_go(state.uploads.pop(number).body.id)
    return Upload(made, body.ref)


def forget_uploads(state: State) -> None:
    for number, each in tuple(state.uploads.items()):
        if each.created <= state.now() - UPLOAD_AGE:
            state.let_go(state.uploads.pop(number).body.id)


def uploads_by_id(state: State, query: UploadsById) -> tuple[Upload, ...]:
    return tuple(
        Upload(number, state.uploads[number].body)
        for number in sorted(set(query.upload_ids))
        if number in state.uploads and state.uploads[number].account_id == query.account_id
    )
