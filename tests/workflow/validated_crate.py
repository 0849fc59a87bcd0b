"""The validator of RO-Crates without a network: what it asks for comes from the package that writes crates."""

from __future__ import annotations

import email.message
import io
import json
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import rocrate

# Version 1.1, which the profiles of workflow runs rest on, has this term elsewhere than 1.3, which rocrate comes with.
_TERMS = {"https://bioschemas.org/terms/ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow"}


def context() -> str:
    """The JSON-LD context of RO-Crate."""
    text = Path(rocrate.__file__).with_name("data").joinpath("ro-crate.jsonld").read_text(encoding="utf-8")
    for newer, older in _TERMS.items():
        text = text.replace(newer, older)
    return text


class _Answer(io.BytesIO):
    """What urllib gives for an address."""

    status = 200

    def __init__(self, url: str) -> None:
        super().__init__(context().encode())
        self.url, self.headers = url, email.message.Message()
        self.headers["content-type"] = "application/ld+json"

    def info(self) -> email.message.Message:
        return self.headers


@contextmanager
def without_network() -> Iterator[None]:
    """Both ways that the validator and its libraries fetch by, answered with the context."""

    def get(self: object, url: str, **_options: object) -> requests.Response:
        response = requests.Response()
        response.status_code, response.url, response._content = 200, url, context().encode()
        response.headers["Content-Type"] = "application/ld+json"
        return response

    from rocrate_validator.utils import http

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(urllib.request.OpenerDirector, "open", lambda self, asked, *_: _Answer(asked.full_url))
        for name in ("get", "head"):
            patch.setattr(http.HttpRequester, name, get, raising=False)
        yield


PROFILES = ("workflow-run-crate-0.5", "provenance-run-crate-0.5")


def problems(folder: Path, profile: str) -> list[str]:
    """What the validator requires of a crate and does not find."""
    with without_network():
        from rocrate_validator import models, services

        settings = services.ValidationSettings(
            rocrate_uri=str(folder), profile_identifier=profile, requirement_severity=models.Severity.REQUIRED
        )
        return [f"{issue.check.identifier}: {issue.message}" for issue in services.validate(settings).get_issues()]


def unpacked(bundle: Path, folder: Path) -> tuple[set[str], list[list[str]]]:
    """Names of a bundle's files, which are unpacked into a folder, and what each of its steps wrote."""
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)
        names = set(archive.namelist())
    graph = json.loads((folder / "ro-crate-metadata.json").read_text(encoding="utf-8"))["@graph"]
    entities = {one["@id"]: one for one in graph}
    (organised,) = [one for one in graph if one["@type"] == "OrganizeAction"]
    actions = [entities[entities[control["@id"]]["object"]["@id"]] for control in organised["object"]]
    results = [action["result"] for action in actions]
    return names, [[one["@id"] for one in (found if isinstance(found, list) else [found])] for found in results]
