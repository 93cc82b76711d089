"""Mail that was held until its time (RFC 4865) and is for this house: filed when it is released.

Where a recipient leads is asked then and not before: meanwhile somebody may have moved. What is filed is
committed together with the outcome, so that it is filed once.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from twisted.internet.threads import deferToThreadPool

from mailftp.delivery.verdict import Job, Result, Verdict
from mailftp.intake.intake import Intake, Refused
from mailftp.store.engine import BodySink
from mailftp.store.queries import Bodies, OpenBody
from mailftp.store.records import QueueMessage, QueueRecipient, StagedBody

if TYPE_CHECKING:
    from mailftp.delivery.attempt import Means

#: Octets of a body that are read at a time.
PIECE = 256 * 1024


async def release(means: Means, intake: Intake, job: Job) -> list[Verdict]:
    """A verdict for each recipient. Fails with StoreFault or OSError."""
    sink = means.store.stage()
    try:
        await _copy(means, job.message, sink)
        body = await sink.finish()
        return [await _file(intake, job.message, recipient, body) for recipient in job.recipients]
    except BaseException:
        sink.abort()
        raise


async def _file(
    intake: Intake, message: QueueMessage, recipient: QueueRecipient, body: StagedBody
) -> Verdict:
    try:
        filing = await intake.release(message, recipient, body)
    except Refused as refused:
        result = Result.LATER if refused.code < 500 else Result.FAILED
        return Verdict(recipient, result, refused.status, refused.text)
    return Verdict(recipient, Result.DELIVERED, "2.0.0", "filed here", final=True, filing=filing)


async def _copy(means: Means, message: QueueMessage, sink: BodySink) -> None:
    """The store keeps a body once; what is staged is how it is told which."""
    ref = message.body
    if not ref.large:
        (data,) = await means.store.read(Bodies((ref,)))
        wait = sink.write(data)
        if wait is not None:
            await wait
        return
    descriptor = await means.store.read(OpenBody(ref))
    try:
        for offset in range(0, ref.size, PIECE):
            piece = await deferToThreadPool(
                means.reactor,  # type: ignore[arg-type]  # the reactor, of which most of us use the clock
                means.threads,
                os.pread,
                descriptor,
                PIECE,
                offset,
            )
            wait = sink.write(piece)
            if wait is not None:
                await wait
    finally:
        os.close(descriptor)
