"""Browsers that are logged in, of the plain engine."""

from __future__ import annotations

from dataclasses import replace

from mailftp.store.memory.state import Holder, State
from mailftp.store.names import WEB_SESSIONS
from mailftp.store.queries import FindWebSession, WebSessions
from mailftp.store.records import Account, WebSession
from mailftp.store.units import CloseWebSessions, OpenWebSession, UseWebSession


def open_session(state: State, unit: OpenWebSession) -> WebSession:
    holder, now = state.holder(unit.account_id), state.now()
    for token_hash in [key for key, session in holder.web_sessions.items() if session.used < unit.stale]:
        del holder.web_sessions[token_hash]
    latest = sorted(holder.web_sessions.items(), key=lambda item: (item[1].used, item[1].id), reverse=True)
    for token_hash, _ in latest[WEB_SESSIONS - 1 :]:
        del holder.web_sessions[token_hash]
    number = state.next_id("web session")
    session = WebSession(number, unit.account_id, unit.verifier_version, now, now, unit.address, unit.agent)
    holder.web_sessions[unit.token_hash] = session
    return session


def use_session(state: State, unit: UseWebSession) -> None:
    for holder in state.holders.values():
        for token_hash, session in holder.web_sessions.items():
            if session.id == unit.id:
                holder.web_sessions[token_hash] = replace(session, used=state.now())


def close_sessions(state: State, unit: CloseWebSessions) -> int:
    holder = state.holders.get(unit.account_id)
    there = holder.web_sessions if holder is not None else {}
    gone = [key for key, session in there.items() if unit.ids is None or session.id in unit.ids]
    for token_hash in gone:
        del there[token_hash]
    return len(gone)


def find_session(state: State, query: FindWebSession) -> tuple[WebSession, Account] | None:
    for holder in state.holders.values():
        session = holder.web_sessions.get(query.token_hash)
        if session is not None and _live(holder, session):
            return session, holder.account
    return None


def list_sessions(state: State, query: WebSessions) -> tuple[WebSession, ...]:
    holder = state.holders.get(query.account_id)
    if holder is None:
        return ()
    live = (session for session in holder.web_sessions.values() if _live(holder, session))
    return tuple(sorted(live, key=lambda session: (session.used, session.id), reverse=True))


def _live(holder: Holder, session: WebSession) -> bool:
    account = holder.account
    return session.verifier_version == account.verifier_version and not account.disabled
