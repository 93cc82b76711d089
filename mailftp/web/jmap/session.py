"""The Session object: RFC 8620 section 2."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from mailftp.store.records import Account
from mailftp.web.jmap.ids import ACCOUNT, spell
from mailftp.web.jmap.ijson import write_json
from mailftp.web.jmap.registry import Registry
from mailftp.web.jmap.request import CORE

#: Below the root.
API = "jmap/api"
UPLOAD = "jmap/upload"
DOWNLOAD = "jmap/download"
EVENT_SOURCE = "jmap/eventsource"


def session_object(registry: Registry, account: Account, base: str) -> Mapping[str, Any]:
    """`base` is the URL of the root as the client sees it, with its last slash."""
    account_id = spell(ACCOUNT, account.id)
    capabilities = registry.capabilities
    session: dict[str, Any] = {
        "capabilities": {name: told for name, (told, _) in capabilities.items()},
        "accounts": {
            account_id: {
                "name": account.address,
                "isPersonal": True,
                "isReadOnly": False,
                "accountCapabilities": {name: own for name, (_, own) in capabilities.items()},
            }
        },
        # The core belongs to no account.
        "primaryAccounts": {name: account_id for name in capabilities if name != CORE},
        "username": account.address,
        "apiUrl": f"{base}{API}",
        "downloadUrl": f"{base}{DOWNLOAD}/{{accountId}}/{{blobId}}/{{name}}?accept={{type}}",
        "uploadUrl": f"{base}{UPLOAD}/{{accountId}}",
        "eventSourceUrl": f"{base}{EVENT_SOURCE}?types={{types}}&closeafter={{closeafter}}&ping={{ping}}",
    }
    # It changes when anything of this does.
    session["state"] = hashlib.blake2b(write_json(session), digest_size=8).hexdigest()
    return session
