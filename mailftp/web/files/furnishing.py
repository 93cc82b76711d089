"""The places of files below the root."""

from __future__ import annotations

from importlib.resources import files

from mailftp.web.authentication import Authentication
from mailftp.web.files.page import FilesPage, HomeOf
from mailftp.web.pages import Answer, Page, Visit
from mailftp.web.root import Root
from mailftp.wire.reading import FileReader


class Description(Page):
    """The interface, for programs and their makers (OpenAPI 3.1)."""

    def __init__(self) -> None:
        self._text = files(__package__).joinpath("openapi.json").read_bytes()

    def answer(self, visit: Visit) -> Answer:
        return Answer(self._text, "application/json")


def add_files(root: Root, authentication: Authentication, home_of: HomeOf, reader: FileReader) -> None:
    root.at("/files.openapi.json", Description())
    root.beneath("/files", FilesPage(authentication, home_of, reader))
