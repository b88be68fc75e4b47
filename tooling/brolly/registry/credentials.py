"""Credentials as docker and helm store them, for one host.

Looked up: Helm's registry/config.json, then docker's config.json, as Helm does. In each a credential helper for the
host comes before `credsStore`, and that before what the file itself holds. Sources: docker's cli/config, Helm's
pkg/registry and pkg/helmpath.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from brolly.registry.addresses import is_hub
from brolly.registry.port import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_HUB_KEY: Final = "https://index.docker.io/v1/"
_HELPER: Final = re.compile(r"[A-Za-z0-9._-]+")
_HELPER_SECONDS: Final = 60


@dataclass(frozen=True)
class Credential:
    """What a person stored for a host: a password, or an identity token that buys access tokens."""

    username: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The header for Basic authorization."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class Lookup:
    """What was found; `troubles` says what could not be read, for the day the registry asks who we are."""

    credential: Credential | None
    troubles: tuple[str, ...] = ()


def find_credential(host: str, environ: Mapping[str, str]) -> Lookup:
    """Look up the credential of a host (with its port, if it has one). Nothing is raised."""
    troubles: list[str] = []
    for path in _config_files(environ):
        try:
            config = _read(path)
            found = _in_config(host, config, environ, troubles) if config else None
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            troubles.append(f"{path} is not usable ({type(error).__name__})")
            continue
        if found:
            return Lookup(found, tuple(troubles))
    return Lookup(None, tuple(troubles))


def helm_folder(environ: Mapping[str, str]) -> Path | None:
    """Say where Helm's configuration is (pkg/helmpath), None for a user without a home."""
    if chosen := environ.get("HELM_CONFIG_HOME"):
        return Path(chosen)
    base = environ.get("XDG_CONFIG_HOME") or _at_home(environ, ".config")
    return Path(base, "helm") if base else None


def _at_home(environ: Mapping[str, str], name: str) -> Path | None:
    try:
        return Path(environ.get("HOME") or Path.home(), name)
    except RuntimeError:  # as in a container, under a user id that has no name
        return None


def _config_files(environ: Mapping[str, str]) -> Iterator[Path]:
    if "HELM_REGISTRY_CONFIG" in environ:
        yield Path(environ["HELM_REGISTRY_CONFIG"])
    elif helm := helm_folder(environ):
        yield helm / "registry" / "config.json"
    if docker := environ.get("DOCKER_CONFIG") or _at_home(environ, ".docker"):
        yield Path(docker, "config.json")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        config = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not isinstance(config, dict):
        raise TypeError("not an object")
    return config


def _in_config(host: str, config: dict[str, Any], environ: Mapping[str, str], troubles: list[str]) -> Credential | None:
    helpers = config.get("credHelpers") or {}
    names = [(name, key) for key in _keys(host) if (name := helpers.get(key))]
    if store := config.get("credsStore"):
        names += [(store, key) for key in _keys(host)]
    for name, key in names:
        if found := _ask_helper(str(name), key, environ, troubles):
            return found
    return _in_auths(host, config.get("auths") or {})


def _keys(host: str) -> tuple[str, ...]:
    return (_HUB_KEY, "index.docker.io", "docker.io", "registry-1.docker.io") if is_hub(host) else (host,)


def _in_auths(host: str, auths: dict[str, Any]) -> Credential | None:
    wanted = {_bare(key) for key in _keys(host)}
    exact_first = sorted(auths.items(), key=lambda item: item[0] not in _keys(host))
    found = (_from_entry(entry) for key, entry in exact_first if _bare(key) in wanted)
    return next((credential for credential in found if credential), None)


def _bare(key: str) -> str:
    """Reduce a key such as `https://HOST/v2/` to its host; a key for one path of a host matches no host."""
    host, _, path = key.removeprefix("https://").removeprefix("http://").partition("/")
    return host.lower() if path.strip("/") in {"", "v1", "v2"} else key


def _from_entry(entry: dict[str, Any]) -> Credential | None:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if encoded := entry.get("auth"):
        try:
            text = base64.b64decode(str(encoded), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ValueError("auth is not base64") from error
        # docker pads with zero bytes
        username, _, password = text.rstrip("\0").partition(":")
    token = str(entry.get("identitytoken") or "")
    return Credential(username, password, token) if token or (username and password) else None


def _ask_helper(name: str, server: str, environ: Mapping[str, str], troubles: list[str]) -> Credential | None:
    program = f"docker-credential-{name}"
    path = shutil.which(program, path=environ.get("PATH")) if _HELPER.fullmatch(name) else None
    if path is None:
        _say_once(troubles, f"{quoted(program)} is not on PATH")
        return None
    import subprocess

    try:
        done = subprocess.run(  # its stderr may hold secrets, so it is not shown
            [path, "get"],
            input=server.encode(),
            capture_output=True,
            timeout=_HELPER_SECONDS,
            check=False,
            env=dict(environ),
        )
        answer = json.loads(done.stdout) if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        _say_once(troubles, f"{program} failed ({type(error).__name__})")
        return None
    if answer is None:
        _note_failure(program, done.stdout + done.stderr, troubles)
        return None
    return _from_helper(answer)


def _note_failure(program: str, said: bytes, troubles: list[str]) -> None:
    if b"not found" not in said:
        _say_once(troubles, f"{program} failed")


def _from_helper(answer: dict[str, Any]) -> Credential | None:
    username, secret = str(answer.get("Username") or ""), str(answer.get("Secret") or "")
    if not secret:
        return None
    # docker's word for "the secret is an identity token"
    return Credential("", "", secret) if username == "<token>" else Credential(username, secret)


def _say_once(troubles: list[str], text: str) -> None:
    if text not in troubles:
        troubles.append(text)


def hint_of(host: str, troubles: Iterable[str]) -> str:
    """Say how a person logs in."""
    noted = "".join(f"; {trouble}" for trouble in troubles)
    return f"log in with `helm registry login {host}` or `docker login {host}`{noted}"
