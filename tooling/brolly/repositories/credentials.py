"""Credentials for http(s) chart repositories: as Helm stores them, and as CI gives them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brolly import document
from brolly.errors import UsageError
from brolly.registry.credentials import helm_folder
from brolly.repositories.http import Credential

if TYPE_CHECKING:
    from collections.abc import Mapping


def from_helm(environ: Mapping[str, str]) -> dict[str, Credential]:
    """Read the user names and passwords that `helm repo add` stored, by the repository's URL.

    UsageError if the file is there and cannot be used. `pass_credentials_all` is not honoured: a password is for the
    repository that it was given for.
    """
    path = _repositories_file(environ)
    if path is None:
        return {}
    try:
        data = document.parse(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"reading Helm's repositories, {path}: {error}") from error
    repositories = data.get("repositories") if isinstance(data, dict) else None
    found = (_stored(item) for item in (repositories if isinstance(repositories, list) else ()))
    return dict(item for item in found if item)


def from_environ(names: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, Credential]:
    """Read the credentials of named repositories (name to URL), by URL.

    For the name `my-charts` they are BROLLY_REPOSITORY_MY_CHARTS_USERNAME and BROLLY_REPOSITORY_MY_CHARTS_PASSWORD.
    """
    found = {}
    for name, url in names.items():
        variable = "BROLLY_REPOSITORY_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
        username, password = environ.get(f"{variable}_USERNAME"), environ.get(f"{variable}_PASSWORD")
        if username and password:
            found[url] = Credential(username, password)
    return found


def _repositories_file(environ: Mapping[str, str]) -> Path | None:
    """Say where Helm has it (pkg/helmpath), None for a user without a home."""
    if chosen := environ.get("HELM_REPOSITORY_CONFIG"):
        return Path(chosen)
    folder = helm_folder(environ)
    return folder / "repositories.yaml" if folder else None


def _stored(item: Any) -> tuple[str, Credential] | None:
    if not isinstance(item, dict):
        return None
    url, username, password = (item.get(key) for key in ("url", "username", "password"))
    # Helm sends nothing unless both are there
    if isinstance(url, str) and username and password:
        return url, Credential(str(username), str(password))
    return None
