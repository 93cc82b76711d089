"""The methods of the core: RFC 8620 section 4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.querying import COLLATIONS
from mailftp.web.jmap.registry import Registry
from mailftp.web.jmap.request import CORE, Limits


def add_core(registry: Registry, limits: Limits) -> None:
    told = {
        "maxSizeUpload": limits.max_size_upload,
        "maxConcurrentUpload": limits.max_concurrent_upload,
        "maxSizeRequest": limits.max_size_request,
        "maxConcurrentRequests": limits.max_concurrent_requests,
        "maxCallsInRequest": limits.max_calls_in_request,
        "maxObjectsInGet": limits.max_objects_in_get,
        "maxObjectsInSet": limits.max_objects_in_set,
        "collationAlgorithms": list(COLLATIONS),
    }
    registry.offer(CORE, told)
    registry.add("Core/echo", _echo, CORE)


async def _echo(context: Context, arguments: Arguments) -> Mapping[str, Any]:
    """Core/echo."""
    return arguments.rest()
