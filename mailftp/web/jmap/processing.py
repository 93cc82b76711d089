"""A request's calls, one after the other: RFC 8620 section 3.3 to 3.7."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import CancelledError

from mailftp.store.engine import LimitReached, StoreFault, StoreFull
from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.faults import MethodError
from mailftp.web.jmap.references import Response, resolve
from mailftp.web.jmap.registry import Registry
from mailftp.web.jmap.request import Call, JMAPRequest


async def perform(
    registry: Registry, request: JMAPRequest, context: Context, session_state: str
) -> Mapping[str, Any]:
    """The Response object (section 3.4)."""
    context.created_ids.update(request.created_ids or {})
    for call in request.calls:
        context.implicit.clear()
        try:
            name, arguments = call.name, await _perform_call(registry, call, context)
        except MethodError as error:
            name, arguments = "error", error.arguments
        context.responses.append(Response(name, arguments, call.id))
        context.responses.extend(Response(*implicit, call.id) for implicit in context.implicit)
    answer: dict[str, Any] = {"methodResponses": [list(each) for each in context.responses]}
    if request.created_ids is not None:
        answer["createdIds"] = context.created_ids
    answer["sessionState"] = session_state
    return answer


async def _perform_call(registry: Registry, call: Call, context: Context) -> Mapping[str, Any]:
    """Raises MethodError, whatever happens: the other calls are performed all the same."""
    method = registry.find(call.name, context.using)
    if method is None:
        raise MethodError("unknownMethod", "there is no such method, or its capability is not in using")
    arguments = Arguments(resolve(call.arguments, context.responses))
    try:
        return await method.perform(context, arguments)
    except (MethodError, CancelledError):
        raise
    except StoreFull:
        raise MethodError("serverUnavailable", "the disk is full, try again later") from None
    except LimitReached as fault:
        raise MethodError("requestTooLarge", str(fault)) from None
    except StoreFault as fault:
        context.journal.warn("method failed", method=call.name, reason=str(fault))
        raise MethodError("serverFail", str(fault)) from None
    except Exception:
        context.journal.fault("method failed", method=call.name)
        raise MethodError("serverFail", "something went wrong here, try again later") from None
