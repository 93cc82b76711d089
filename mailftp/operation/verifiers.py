"""How a verifier travels in a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailftp.operation.requests import Refused
from mailftp.store.records import ScramKeys, Verifier


def verifier_to_json(verifier: Verifier) -> dict[str, object]:
    scram = verifier.scram
    return {
        "password": verifier.password,
        "scram": scram
        and {
            "salt": scram.salt.hex(),
            "iterations": scram.iterations,
            "stored_key": scram.stored_key.hex(),
            "server_key": scram.server_key.hex(),
        },
    }


def verifier_from_json(given: Mapping[str, object]) -> Verifier:
    """Raises Refused."""
    try:
        scram: Any = given.get("scram")
        keys = scram and ScramKeys(
            salt=bytes.fromhex(scram["salt"]),
            iterations=int(scram["iterations"]),
            stored_key=bytes.fromhex(scram["stored_key"]),
            server_key=bytes.fromhex(scram["server_key"]),
        )
        password = given["password"]
        if not isinstance(password, str):
            raise TypeError
        return Verifier(password, keys or None)
    except (KeyError, TypeError, ValueError):
        raise Refused("the request holds no verifier")
