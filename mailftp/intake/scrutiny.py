"""How a stranger's message is looked at while it comes, and what becomes of it for what is found."""

from __future__ import annotations

from mailftp.intake.envelope import Envelope
from mailftp.intake.inspected import HeaderRoom, InspectedSink
from mailftp.intake.refused import Refused
from mailftp.intake.structure import PartsWatch, Structure
from mailftp.origin.checks import Checks
from mailftp.origin.findings import results_field, without_forged
from mailftp.origin.policy import quarantined, refusal
from mailftp.settings import Settings
from mailftp.store.engine import BodySink
from mailftp.store.records import StagedBody

#: Where what DMARC puts in quarantine is filed (RFC 6154, \\Junk).
JUNK = "Junk"


class Scrutiny:
    """One for the whole server."""

    def __init__(self, settings: Settings, checks: Checks) -> None:
        self._settings, self._checks = settings, checks
        self._structure = Structure(settings.limits, checks.run)
        self._room = HeaderRoom()

    def watch(self, envelope: Envelope, sink: BodySink, now: float) -> BodySink:
        """In front of where the message goes; what comes by LMTP was checked by the server beside us, and
        says so itself."""
        origin, checks, hostname = envelope.origin, self._checks, self._settings.hostname
        if "LMTP" in origin.with_protocol:
            return sink
        inspection = checks.begin(origin.peer, origin.helo, envelope.sender, now)
        if inspection is None and checks.trusts(origin.peer):
            # A test server that catches everything: nothing is looked at, and nothing in its way.
            return sink

        def read_header(header: bytes) -> bytes:
            if inspection is None:
                return header
            checks.read_header(inspection, header, origin.peer)
            return without_forged(header, hostname)

        envelope.inspection, envelope.parts = inspection, PartsWatch()
        limit = self._settings.limits.header_size
        return InspectedSink(sink, inspection, read_header, limit, envelope.parts, self._room)

    async def judge(self, envelope: Envelope, body: StagedBody) -> None:
        """Wait for the checks of a message that is here whole, and note in its envelope what they found.

        Raises Refused where the settings say that it counts; what is found of trusted clients never does.
        """
        checks, trusted = self._checks, self._checks.trusts(envelope.origin.peer)
        if not trusted and envelope.parts is not None and envelope.parts.may_exceed(self._settings.limits):
            await self._structure.check(body)
        if envelope.inspection is None:
            return
        findings = await envelope.inspection.conclude()
        envelope.checks = str(findings)
        envelope.results = results_field(self._settings.hostname, findings.found)
        if trusted:
            return
        refused = refusal(findings, checks.settings)
        if refused is not None:
            raise Refused(refused.code, refused.status, refused.text)
        if quarantined(findings, checks.settings):
            envelope.mailbox = JUNK
