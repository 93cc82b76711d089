"""Floor 5: the outbound queue at work.

    service       leases what is due, runs attempts, records what came of them
    destinations  how much runs at one time, to whom, and connections kept for the next message
    routes        from a domain to the hosts to try
    attempt       one message to one domain: host after host, to a verdict for each recipient
    schedule      when the next attempt is, when to warn, when to give up
    reports       what the sender is told

Invariants: a recipient is worked on under a lease that is renewed while the attempt lasts; what came of it
and the bounce about it are one transaction; nothing here waits for a disk on the reactor thread.
"""

from mailftp.delivery.service import DeliveryService

__all__ = ["DeliveryService"]
