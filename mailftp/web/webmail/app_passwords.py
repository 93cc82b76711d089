"""App passwords by their owner: made with the account's own password, shown once, revoked at any time."""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar

from mailftp.accounts.app_passwords import PROTOCOLS, generate_app_password
from mailftp.accounts.passwords import Busy
from mailftp.store.engine import AppPasswordExists, LimitReached, NoSuchAppPassword, Store, StoreFault
from mailftp.store.queries import AccountWithVerifier, AppPasswords
from mailftp.store.records import Account
from mailftp.store.units import AddAppPassword, RemoveAppPasswords
from mailftp.web.pages import Answer, Visit
from mailftp.web.webmail.signing_in import Door, JSONPage, MakeVerifier, Unfit, given, told

#: Characters of a name.
LONGEST_NAME = 100


class AppPasswordList(JSONPage):
    """GET lists them. POST of `name`, `protocols` (a list; empty: all), `readOnly` and `password`, the own
    one of the account, makes one; POST of `remove`, a name, ends one and the sessions that it opened."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "POST")

    def __init__(self, door: Door, store: Store, make_verifier: MakeVerifier) -> None:
        self._door, self._store, self._make_verifier = door, store, make_verifier

    async def work(self, visit: Visit) -> Answer:
        _, account = await self._door.whose(visit)
        made = None
        if visit.method == "POST":
            asked = given(visit)
            if "remove" in asked:
                await self._remove(account, given(visit, remove=str)["remove"])
            else:
                made = await self._make(visit, account)
        listed = await self._store.read(AppPasswords(account.id))
        passwords = [
            {
                "name": each.name,
                "protocols": each.protocols,
                "readOnly": each.read_only,
                "created": each.created,
                "lastUsed": each.last_used,
            }
            for each in listed
        ]
        return told({"appPasswords": passwords, **({"password": made} if made else {})})

    async def _make(self, visit: Visit, account: Account) -> str:
        asked = given(visit, name=str, protocols=list, readOnly=bool, password=str)
        name, protocols = asked["name"].strip(), asked["protocols"]
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise Unfit(HTTPStatus.BAD_REQUEST, f"Give it a name of at most {LONGEST_NAME} characters.")
        if not all(protocol in PROTOCOLS for protocol in protocols):
            raise Unfit(HTTPStatus.BAD_REQUEST, f"protocols are some of {', '.join(PROTOCOLS)}")
        if asked["readOnly"] and protocols and "ftp" not in protocols:
            raise Unfit(HTTPStatus.BAD_REQUEST, "Read-only is about files by FTP.")
        # A browser that was left open makes nobody a way in that outlives it.
        await self._door.enter(visit, account.address, asked["password"])
        found = await self._store.read(AccountWithVerifier(account.address))
        if found is None:
            raise Unfit(HTTPStatus.UNAUTHORIZED, "You are signed out.")
        selector, password = generate_app_password({each.selector for each in found[1].app_passwords})
        chosen = tuple(sorted(set(protocols)))
        try:
            verifier = await self._make_verifier(password, found[1].scram)
            await self._store.commit(
                AddAppPassword(account.address, name, selector, verifier, chosen, asked["readOnly"])
            )
        except (AppPasswordExists, LimitReached) as fault:
            raise Unfit(HTTPStatus.CONFLICT, str(fault))
        except (Busy, StoreFault) as fault:
            raise Unfit(HTTPStatus.SERVICE_UNAVAILABLE, str(fault))
        return password

    async def _remove(self, account: Account, name: str) -> None:
        try:
            await self._store.commit(RemoveAppPasswords(account.address, name))
        except NoSuchAppPassword as fault:
            raise Unfit(HTTPStatus.NOT_FOUND, str(fault))
