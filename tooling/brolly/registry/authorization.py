"""Answers to a registry's challenge: Basic, or a bearer token for one repository and what is done with it.

A token is kept per scope until it expires and fetched anew once when a registry rejects it. Credentials go to the
registry and, as the protocol wants, to the token server that the registry names, which has to be a safe address.
Source: distribution's token specification (docs/spec/auth) and RFC 9110 11.6.
"""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

from brolly.registry.addresses import is_loopback, origin_of, shown
from brolly.registry.credentials import hint_of
from brolly.registry.port import RegistryMisbehaved, RegistryUnavailable, Unauthorized, quoted
from brolly.registry.transport import PASSING, read_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from brolly.registry.credentials import Credential, Lookup
    from brolly.registry.transport import Response, Transport

_MAX_ANSWER: Final = 1 << 20
# what the specification says for a server that does not
_DEFAULT_SECONDS: Final = 60
_PART: Final = re.compile(r'(?:([\w.-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))|([\w.-]+))')
_TOKEN: Final = re.compile(r"[!-~]+")


class Scope(NamedTuple):
    """What a request needs: a repository, and `pull` or `pull,push`."""

    repository: str
    actions: str

    def __str__(self) -> str:
        return f"repository:{self.repository}:{self.actions}"


@dataclass(frozen=True)
class Challenge:
    """What a registry asks for: `basic`, or `bearer` with a token server (`realm`)."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


@dataclass(frozen=True)
class _Token:
    value: str = field(repr=False)
    until: float

    @property
    def header(self) -> str:
        return f"Bearer {self.value}"


def challenge_of(header: str) -> Challenge | None:
    """Read WWW-Authenticate: the bearer challenge if there is one, else Basic, else none that we can answer."""
    offered = {challenge.scheme: challenge for challenge in _challenges(header)}
    bearer = offered.get("bearer")
    return bearer if bearer and bearer.realm else offered.get("basic")


def _challenges(header: str) -> Iterator[Challenge]:
    scheme, parameters = "", dict[str, str]()
    for match in _PART.finditer(header):
        key, quoted_value, value, word = match.groups()
        if word:
            yield _challenge(scheme, parameters)
            scheme, parameters = word.lower(), {}
        else:
            parameters[key.lower()] = re.sub(r"\\(.)", r"\1", quoted_value) if quoted_value is not None else value
    yield _challenge(scheme, parameters)


def _challenge(scheme: str, parameters: dict[str, str]) -> Challenge:
    known = {key: parameters[key] for key in ("realm", "service", "scope") if key in parameters}
    return Challenge(scheme, **known)


class Authorizer:
    """The authorizations for one registry. Safe to share between threads: one asks, the others wait for its token."""

    def __init__(self, host: str, base: str, transport: Transport, lookup: Callable[[], Lookup]) -> None:
        self._host, self._base = host, base
        self._transport = transport
        self._look_up = lookup
        self._found: Lookup | None = None
        self._challenge: Challenge | None = None
        self._asked = False
        self._tokens: dict[Scope, _Token] = {}
        self._lock = threading.RLock()

    @property
    def hint(self) -> str:
        """Say how to log in, and what was wrong with the stored credentials."""
        return hint_of(self._host, self._lookup().troubles)

    def header(self, scope: Scope) -> str:
        """Give the Authorization to send at once, "" for none.

        A registry that lets anybody read may answer 404 for what is not public, so with credentials the registry is
        asked first what it wants.
        """
        with self._lock:
            if not self._asked and self._lookup().credential:
                answer = self._transport.follow("GET", f"{self._base}/v2/", {})
                answer.close()
                if answer.status_code == 401:
                    self._learn(answer)
            self._asked = True
            return self._answer(self._challenge, scope) if self._challenge else ""

    def renewed(self, answer: Response, scope: Scope, rejected: str) -> str:
        """Give another Authorization than the rejected one, "" if there is none."""
        with self._lock:
            challenge = self._learn(answer)
            if challenge is None:
                return ""
            # another thread may have a new one already
            self._tokens = {key: token for key, token in self._tokens.items() if token.header != rejected}
            header = self._answer(challenge, scope)
            return "" if header == rejected else header

    def _lookup(self) -> Lookup:
        with self._lock:
            if self._found is None:
                self._found = self._look_up()
            return self._found

    def _learn(self, answer: Response) -> Challenge | None:
        challenge = challenge_of(answer.headers.get("WWW-Authenticate", ""))
        if challenge:
            self._challenge = replace(challenge, scope="")
        return challenge

    def _answer(self, challenge: Challenge, scope: Scope) -> str:
        credential = self._lookup().credential
        if challenge.scheme == "basic":
            return credential.basic if credential and credential.password else ""
        for known in (scope, scope._replace(actions="pull,push")):
            token = self._tokens.get(known)
            if token and time.monotonic() < token.until:
                return token.header
        self._tokens[scope] = self._fetch(challenge, scope, credential)
        return self._tokens[scope].header

    def _fetch(self, challenge: Challenge, scope: Scope, credential: Credential | None) -> _Token:
        realm = self._safe_realm(challenge, credential)
        asked = {"service": challenge.service} if challenge.service else {}
        asked["scope"] = _asked(challenge.scope, scope)
        answer, content = self._ask(realm, asked, credential)
        if answer.status_code in PASSING:
            raise RegistryUnavailable(f"{shown(realm)}: the token server answers {answer.status_code}")
        if answer.status_code in {400, 401, 403}:
            whose = "these credentials" if credential else "nobody without credentials"
            raise Unauthorized(f"{self._host}: its token server gives {whose} access to {scope}", hint=self.hint)
        if answer.status_code != 200:
            raise RegistryMisbehaved(f"{shown(realm)}: the token server answers {answer.status_code}")
        return _read_token(shown(realm), content)

    def _safe_realm(self, challenge: Challenge, credential: Credential | None) -> str:
        realm = self._transport.target(f"{self._base}/v2/", challenge.realm)
        there, here = origin_of(realm), origin_of(self._base)
        if credential and there.scheme == "http" and there.host != here.host and not is_loopback(there.host):
            raise RegistryMisbehaved(f"{self._host}: wants the credentials sent to {shown(realm)}, which is not https")
        return realm

    def _ask(self, realm: str, asked: dict[str, str], credential: Credential | None) -> tuple[Response, bytes]:
        # no redirect is followed: what is sent is a secret
        if credential and credential.identity_token:
            form = {**asked, "grant_type": "refresh_token", "refresh_token": credential.identity_token}
            form["client_id"] = "brolly"
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self._transport.send("POST", realm, headers, urlencode(form).encode())
        else:
            headers = {"Authorization": credential.basic} if credential else {}
            url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(asked)}"
            answer = self._transport.send("GET", url, headers)
        content, whole = read_body(answer, _MAX_ANSWER)
        if not whole:
            raise RegistryUnavailable(f"{shown(realm)}: the token server's answer is cut off")
        return answer, content


def _asked(challenged: str, scope: Scope) -> str:
    """Name the resource as the registry does, and add the actions that we need."""
    kind, _, rest = challenged.partition(":")
    name, _, actions = rest.rpartition(":")
    if kind != "repository" or not name or " " in challenged:
        return challenged or str(scope)
    return f"repository:{name}:{','.join(sorted({*actions.split(','), *scope.actions.split(',')} - {''}))}"


def _read_token(place: str, content: bytes) -> _Token:
    try:
        answer: dict[str, Any] = json.loads(content)
        value = answer.get("token") or answer.get("access_token")
        seconds = answer.get("expires_in")
    except (ValueError, AttributeError, RecursionError) as error:
        raise RegistryMisbehaved(f"{place}: no token but {quoted(content[:80].decode(errors='replace'))!r}") from error
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise RegistryMisbehaved(f"{place}: the token server gives no token")
    lifetime = seconds if isinstance(seconds, int) and seconds > 0 else _DEFAULT_SECONDS
    # not up to the last second: it has to arrive
    return _Token(value, time.monotonic() + lifetime * 0.9)
