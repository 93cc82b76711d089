"""VRFY and EXPN: who is here, and who is behind an alias (RFC 5321 section 3.5)."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from mailftp.intake.intake import Intake, Origin, Refused
from mailftp.message.address import Address
from mailftp.smtp.syntax import Reply


async def tell_address(intake: Intake, origin: Origin, address: Address) -> Reply:
    """Elsewhere is not asked about."""
    try:
        found = intake.recipient(origin, address)
        if isinstance(found, Deferred):
            await found
    except Refused as refused:
        if refused.status == "5.7.1":
            return Reply(252, "2.0.0", "Not here, but send it and it will be tried")
        if refused.status != "5.7.2":
            return Reply(refused.code, refused.status, refused.text)
        # A list that is closed to some is there all the same.
    return Reply(250, "2.1.5", f"<{address}>")


async def tell_members(intake: Intake, origin: Origin, address: Address) -> Reply:
    """A line for each address that an alias leads to; an account leads to itself."""
    try:
        members = await intake.members(origin, address)
    except Refused as refused:
        return Reply(refused.code, refused.status, refused.text)
    return Reply(250, "2.1.5", "\n".join(f"<{member}>" for member in members))
