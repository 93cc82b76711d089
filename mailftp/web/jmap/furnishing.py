"""JMAP's places below the root."""

from __future__ import annotations

from mailftp.web.authentication import Authentication
from mailftp.web.jmap.blob_methods import add_blobs
from mailftp.web.jmap.blob_pages import DownloadPage, UploadPage
from mailftp.web.jmap.context import Ground
from mailftp.web.jmap.core import add_core
from mailftp.web.jmap.event_page import EventSourcePage
from mailftp.web.jmap.event_source import EventSources
from mailftp.web.jmap.mail import add_mail, add_quotas
from mailftp.web.jmap.pages import APIPage, SessionPage
from mailftp.web.jmap.registry import Registry
from mailftp.web.jmap.session import API, DOWNLOAD, EVENT_SOURCE, UPLOAD
from mailftp.web.jmap.writing import add_submission, add_writing
from mailftp.web.root import Root


def make_registry(ground: Ground) -> Registry:
    """Every capability and method that there is."""
    registry = Registry()
    add_core(registry, ground.limits)
    add_mail(registry)
    add_writing(registry)
    add_quotas(registry)
    add_blobs(registry)
    if ground.intake is not None:
        add_submission(registry)
    return registry


def add_jmap(root: Root, ground: Ground, authentication: Authentication) -> None:
    registry = make_registry(ground)
    root.at("/.well-known/jmap", SessionPage(authentication, registry))
    root.at(f"/{API}", APIPage(authentication, ground, registry))
    root.beneath(f"/{UPLOAD}", UploadPage(authentication, ground))
    root.beneath(f"/{DOWNLOAD}", DownloadPage(authentication, ground))
    sources = EventSources(ground.store, authentication.clock)
    root.at(f"/{EVENT_SOURCE}", EventSourcePage(authentication, sources))
