"""Registries over HTTP: the `Registry` port. Importing this module loads urllib3.

What is read of manifests and tags is asked through oras' provider. What it cannot do goes by the exchange itself: bytes
as they are, whether streamed or raw, and the question what is there. So a publication of what is new does without
loading it.
Source: the OCI distribution-spec 1.1, and what registries really do where it is silent.
"""

from __future__ import annotations

import os
import re
from contextlib import nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import msgspec

from brolly.oci import Blob, Descriptor, Digest, StoredBlob
from brolly.registry.addresses import is_loopback, origin_of, shown
from brolly.registry.credentials import Credential, Lookup, find_credential
from brolly.registry.exchange import Exchange, said
from brolly.registry.port import (
    MANIFEST_TYPES,
    MAX_MANIFEST,
    NotFound,
    Patience,
    RegistryMisbehaved,
    RegistryRefused,
    is_digest,
    opened,
    quoted,
    read_manifest,
    require_blob,
    require_digest,
    require_free,
    require_own_digest,
    require_reference,
    require_size,
)
from brolly.registry.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from brolly.registry.client import Client
    from brolly.registry.transport import Response

_ACCEPT: Final = {"Accept": ", ".join(MANIFEST_TYPES)}
_MAX_PAGES: Final = 10_000
# one link of several: <URL>; rel="next" (RFC 8288)
_NEXT: Final = re.compile(r"""<([^>]*)>(?:\s*;[^,;<]*)*?;\s*rel\s*=\s*["']?next["']?\s*(?:[,;]|$)""")
# bytes: to ask for a small blob takes as long as to send it, and most that are sent are new
_SENT_UNASKED: Final = 1 << 16
# what registries answer to a PUT whose upload they no longer know, or know to be half done
_UPLOAD_LOST: Final = frozenset({400, 404, 416})

_TOO_LARGE: Final = "raise what the registry, or a proxy before it, takes at once (nginx calls it client_max_body_size)"


class OciRegistry:
    """A `Registry` at a host. Safe to share between threads.

    Plain HTTP is spoken to loopback hosts (unless there is a `ca_file`) and to any host with `plain_http`. The
    credential is the one given, else the one that helm or docker stored for this host. `redirect_hosts` are hosts in
    private networks to which the registry may send us, such as an object store.
    """

    def __init__(
        self,
        host: str,
        *,
        plain_http: bool | None = None,
        ca_file: Path | None = None,
        patience: Patience = Patience(),  # noqa: B008 (a frozen value)
        credential: Credential | None = None,
        redirect_hosts: Collection[str] = (),
    ) -> None:
        if plain_http is None:
            plain_http = ca_file is None and is_loopback(origin_of(f"https://{host}").host)
        transport = Transport(patience, ca_file=ca_file, redirect_hosts=redirect_hosts)
        self.host = host
        self._exchange = Exchange(
            host,
            transport,
            lambda: Lookup(credential) if credential else find_credential(host, os.environ),
            plain_http=plain_http,
        )

    def tags(self, repository: str) -> tuple[str, ...]:
        """See `Registry`."""
        return tuple(sorted({tag for page in self._pages(repository) for tag in _tags_of(page) if _is_tag(tag)}))

    def resolve(self, repository: str, reference: str) -> Descriptor | None:
        """See `Registry`."""
        url = self._exchange.url(repository, "manifests", reference)
        response = self._exchange.ask("HEAD", url, _ACCEPT)
        if response.status_code == 404:
            return None
        told = _told(response) if response.status_code == 200 else None
        if told is None:
            # some registries give no digest, or refuse HEAD
            found = self._manifest(repository, reference)
            return found.descriptor if found else None
        if is_digest(reference) and told.digest != reference:
            raise RegistryMisbehaved(f"{shown(url)}: the registry says that this is {told.digest}")
        return told

    def manifest(self, repository: str, reference: str) -> Blob:
        """See `Registry`."""
        found = self._manifest(repository, reference)
        if found is None:
            raise NotFound(f"{self.location(repository, reference)}: there is no such manifest")
        return found

    def has_blob(self, repository: str, digest: str) -> bool:
        """See `Registry`."""
        response = self._exchange.ask("HEAD", self._exchange.url(repository, "blobs", Digest.parse(digest)))
        if response.status_code == 404:
            return False
        _good(response)
        return True

    def blob(self, repository: str, descriptor: Descriptor, *, max_size: int) -> bytes:
        """See `Registry`."""
        url = self._exchange.url(repository, "blobs", Digest.parse(descriptor.digest))
        require_size(shown(url), descriptor, max_size)
        response = self._exchange.ask("GET", url, limit=descriptor.size)
        if response.status_code == 404:
            raise NotFound(f"{shown(url)}: there is no such blob")
        content = _good(response).content
        require_blob(shown(url), descriptor, content)
        return content

    def put_blob(self, repository: str, blob: Blob | StoredBlob) -> None:
        """See `Registry`. What lies in a file is judged by the registry, which is told the digest with the content."""
        is_small = blob.descriptor.size <= _SENT_UNASKED
        if isinstance(blob, Blob):
            require_digest(self.host, blob.content, blob.descriptor.digest)
        elif is_small:
            blob.prove()  # no connection is kept open for what is sent at once
        if not is_small and self.has_blob(repository, blob.descriptor.digest):
            return
        response = self._upload(repository, blob)
        if response.status_code in _UPLOAD_LOST:
            # a retried PUT may find its upload finished, or half done: then begin a new one, once
            if self.has_blob(repository, blob.descriptor.digest):
                return
            response = self._upload(repository, blob)
        _require_same(_good(response), blob.descriptor.digest)

    def put_manifest(self, repository: str, reference: str, manifest: Blob, *, only_new: bool = False) -> None:
        """See `Registry`.

        OCI has no PUT on a condition: distribution answers 201 to one whose If-None-Match does not hold. So with
        `only_new` the tag is looked up right before the PUT and right after it. A window is left: who looks before
        another's PUT, and writes after that one has looked again, moves the tag, and neither of the two is told.
        """
        place = self.location(repository, reference)
        if only_new:
            require_free(place, self.resolve(repository, reference), manifest)
        self._put_manifest(repository, reference, manifest)
        if only_new:
            # that nothing is there may be an answer from before
            require_free(place, self.resolve(repository, reference), manifest)

    def _put_manifest(self, repository: str, reference: str, manifest: Blob) -> None:
        require_own_digest(require_reference(reference), manifest)
        url = self._exchange.url(repository, "manifests", reference)
        headers = {"Content-Type": manifest.descriptor.media_type}
        response = self._exchange.ask("PUT", url, headers, manifest.content)
        for turn in range(self._exchange.transport.patience.tries - 1):
            if not _is_raced(response):
                break
            self._exchange.transport.rest(turn)
            response = self._exchange.ask("PUT", url, headers, manifest.content)
        response = _good(response)
        if not _require_same(response, manifest.descriptor.digest):
            stored = self.resolve(repository, reference)
            if stored is None or stored.digest != manifest.descriptor.digest:
                there = stored.digest if stored else "nothing"
                raise RegistryMisbehaved(f"{shown(url)}: holds {there}, not {manifest.descriptor.digest}")

    def location(self, repository: str, tag: str) -> str:
        """See `Registry`."""
        return f"oci://{self.host}/{repository}{'@' if is_digest(tag) else ':'}{tag}"

    def _pages(self, repository: str) -> Iterator[Response]:
        url: str | None = self._exchange.url(repository, "tags")
        seen: set[str] = set()
        while url is not None:
            response = self._provider.do_request(url, repository=repository)
            if response.status_code == 404:
                return
            yield _good(response)
            seen.add(url)
            url = self._next_page(response)
            if url in seen or len(seen) > _MAX_PAGES:
                raise RegistryMisbehaved(f"{shown(response.url)}: its pages have no end")

    def _next_page(self, response: Response) -> str | None:
        link = _NEXT.search(response.headers.get("Link", ""))
        if not link:
            return None
        url = self._exchange.transport.target(response.url, link[1])
        if origin_of(url) != origin_of(self._exchange.base):
            raise RegistryMisbehaved(f"{shown(response.url)}: its next page is elsewhere, at {shown(url)}")
        return url

    def _manifest(self, repository: str, reference: str) -> Blob | None:
        url = self._exchange.url(repository, "manifests", reference)
        response = self._provider.do_request(url, headers=_ACCEPT, limit=MAX_MANIFEST)
        if response.status_code == 404:
            return None
        content, place = _good(response).content, shown(url)
        if len(content) > MAX_MANIFEST:
            raise RegistryMisbehaved(f"{place}: the manifest has more than {MAX_MANIFEST} bytes")
        if is_digest(reference):
            require_digest(place, content, reference)
        _require_same(response, Digest.of(content))
        return read_manifest(place, content, response.headers.get("Content-Type", ""))

    def _upload(self, repository: str, blob: Blob | StoredBlob) -> Response:
        url = self._exchange.url(repository, "uploads")
        started = _good(self._exchange.ask("POST", url))
        location = started.headers.get("Location")
        if not location:
            raise RegistryMisbehaved(
                f"{shown(url)}: opens an upload but says not where",
                hint="does a proxy before the registry take the header Location away?",
            )
        # the spec lets it be another host; then it has to be https and gets no credentials (the client sees to it)
        target = self._exchange.transport.target(started.url, location)
        query = urlencode({"digest": blob.descriptor.digest})
        place = f"{target}{'&' if '?' in target else '?'}{query}"
        size = len(blob.content) if isinstance(blob, Blob) else blob.descriptor.size
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        with nullcontext(blob.content) if isinstance(blob, Blob) else opened(blob) as body:
            return self._exchange.ask("PUT", place, headers, body, repository=repository)

    @cached_property
    def _provider(self) -> Client:
        from brolly.registry.client import Client

        return Client(self._exchange)


def _is_raced(response: Response) -> bool:
    """Say whether a registry tripped over itself: it denies the digest of a manifest, which was checked here.

    docker-registry 2.8.3 reads the link of a blob while another upload of the same blob writes it.
    """
    return response.status_code == 400 and b"DIGEST_INVALID" in response.content[:4096]


def _good(response: Response) -> Response:
    """Refuse every answer that is no success: RegistryRefused for 4xx, NotFound for 404."""
    status, place = response.status_code, f"{response.method} {shown(response.url)}"
    if 200 <= status < 300:
        return response
    words = said(response) or quoted(response.reason or "")
    if status == 404:
        raise NotFound(f"{place}: {words}")
    if 400 <= status < 500:
        hint = _TOO_LARGE if status == 413 else ""
        raise RegistryRefused(f"{place}: refused ({status}): {words}", hint=hint)
    raise RegistryMisbehaved(f"{place}: answers {status} {words}")


def _told(response: Response) -> Descriptor | None:
    """Read the descriptor out of a HEAD's headers, None if they do not tell it all."""
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
    size = response.headers.get("Content-Length", "")
    try:
        digest = Digest.parse(response.headers.get("Docker-Content-Digest", ""))
    except ValueError:
        return None
    if media_type not in MANIFEST_TYPES or not (size.isascii() and size.isdigit()):
        return None
    return Descriptor(media_type=media_type, digest=digest, size=int(size))


def _require_same(response: Response, digest: str) -> bool:
    """Compare with the digest that the registry reports; False if it reports none of our kind."""
    told = response.headers.get("Docker-Content-Digest", "")
    if not told.startswith("sha256:"):
        return False
    if told != digest:
        raise RegistryMisbehaved(f"{shown(response.url)}: the registry says {quoted(told)}, the content is {digest}")
    return True


class _Page(msgspec.Struct):
    tags: list[str] | None


# made once, at import: msgspec's first use of a struct is not safe in several threads
_PAGES: Final = msgspec.json.Decoder(_Page)


def _tags_of(page: Response) -> tuple[str, ...]:
    try:
        return tuple(_PAGES.decode(page.content).tags or ())
    except msgspec.DecodeError as error:
        start = quoted(page.content[:80].decode(errors="replace"))
        raise RegistryMisbehaved(f"{shown(page.url)}: is no list of tags but {start!r}") from error


def _is_tag(text: str) -> bool:
    try:
        return bool(require_reference(text)) and not is_digest(text)
    except ValueError:
        return False
