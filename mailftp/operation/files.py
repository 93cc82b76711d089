"""What an operator asks of the FTP sessions of a running server: who is there, and somebody out; and how much
of everything there was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from mailftp.ftp.events import Watchers
from mailftp.operation.requests import Refused
from mailftp.wire.journal import Journal


class FTPSession(Protocol):
    """What a connection of mailftp.ftp.server has."""

    context: str
    user_name: str

    def describe(self) -> dict[str, Any]: ...

    def kick(self) -> None: ...


#: Requests that are answered here.
REQUESTS = frozenset({"ftp who", "ftp kick", "ftp metrics"})


def perform_files(
    request: Mapping[str, Any], sessions: Iterable[FTPSession], watchers: Watchers, journal: Journal
) -> Any:
    """Raises Refused."""
    if request["do"] == "ftp who":
        return sorted((session.describe() for session in sessions), key=lambda found: -found["since"])
    if request["do"] == "ftp metrics":
        there = list(sessions)
        moving = sum("direction" in session.describe() for session in there)
        return {"sessions": len(there), "transfers": moving, **watchers.counters.as_json()}
    return _kick(request.get("who"), sessions, journal)


def _kick(who: object, sessions: Iterable[FTPSession], journal: Journal) -> list[str]:
    """`who` is a session as `who` names it, or an account, all of whose sessions end."""
    if not isinstance(who, str) or not who:
        raise Refused("who is to go is missing: a session of `mailftp ftp who`, or an account")
    found = [session for session in sessions if who in (session.context, session.user_name)]
    if not found:
        raise Refused(
            f"no such session, and nobody of that name is here: {who}; `mailftp ftp who` lists them"
        )
    for session in found:
        journal.record("ftp session kicked", session=session.context, name=session.user_name)
        session.kick()
    return [session.context for session in found]
