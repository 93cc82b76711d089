"""What happened, one line an event, each with the context that it belongs to.

The lines that an operator searches for are made here and nowhere else: a login, a message accepted,
delivered, refused or bounced, a transfer done. An observer (text or JSON, `[log] format`) renders the
fields and escapes every octet that could end or forge a line, so callers pass what clients said as it is.
No password and no message body is ever a field.
"""

from __future__ import annotations

from time import time

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from mailftp.wire.tally import events as _counted
from mailftp.wire.tokens import Tokens

_LOG = Logger(namespace="mailftp")
_new_name = Tokens(4)


class Journal:
    """Writes events under one context id, "smtp-5f2a9c01"; the id follows a connection or a message."""

    __slots__ = ("context",)

    def __init__(self, context: str) -> None:
        self.context = context

    @classmethod
    def new(cls, service: str) -> Journal:
        return cls(f"{service}-{_new_name()}")

    def record(self, event: str, /, **fields: object) -> None:
        """What an operator wants to know happened: `record("login", name="bob@a.test", peer=peer)`."""
        self._emit(LogLevel.info, event, fields)

    def warn(self, event: str, /, **fields: object) -> None:
        """Something that somebody should look at."""
        self._emit(LogLevel.warn, event, fields)

    def detail(self, event: str, /, **fields: object) -> None:
        """For whoever debugs: `[log] level = "debug"`."""
        self._emit(LogLevel.debug, event, fields)

    def fault(self, event: str, failure: Failure | None = None, /, **fields: object) -> None:
        """Our own error, with its traceback: that of `failure`, or in an except block the one caught."""
        _LOG.failure(
            "{mailftp_event}",
            failure,
            mailftp_event=event,
            mailftp_context=self.context,
            mailftp_fields=fields,
        )

    def _emit(self, level: object, event: str, fields: dict[str, object]) -> None:
        service, dash, _ = self.context.partition("-")
        _counted[event, service if dash else ""] += 1
        # What Logger.emit does, without its look at every level's name and a Logger made for each access.
        _LOG.observer(
            {
                "log_logger": _LOG,
                "log_level": level,
                "log_namespace": _LOG.namespace,
                "log_source": None,
                "log_format": "{mailftp_context} {mailftp_event} {mailftp_fields}",
                "log_time": time(),
                "mailftp_event": event,
                "mailftp_context": self.context,
                "mailftp_fields": fields,
            }
        )
