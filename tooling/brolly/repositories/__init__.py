"""Chart versions and chart packages from `oci://` and `http(s)://` repositories.

Which version is chosen is Helm's decision (internal/resolver). What arrives is ours to judge: Helm checks no digest of
a package from an http repository, and a tag may move. So a package is held to the digest in the lock, and to the name
and version that were asked for.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from brolly import chart
from brolly.errors import WorldError
from brolly.findings import printable
from brolly.oci import Digest, Reference, tag_of
from brolly.registry import NotFound, Patience
from brolly.registry.addresses import shown
from brolly.repositories.faults import OfflineMiss, Republished, Unresolvable
from brolly.repositories.http import Client, Credential, is_same_origin, resolve_reference, split_userinfo
from brolly.repositories.index import Index, IndexFault, Listing
from brolly.repositories.oci import chart_layer, chart_reference, versions_of
from brolly.repositories.once import Once
from brolly.shapes import settled
from brolly.suggestions import did_you_mean
from brolly.versions import Constraint, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brolly.cache import Cache
    from brolly.registry import Registry

__all__ = [
    "MAX_INDEX",
    "MAX_PACKAGE",
    "Candidate",
    "Credential",
    "OfflineMiss",
    "Package",
    "Repositories",
    "Republished",
    "Unresolvable",
]

# Helm has no limit. Flux's is the half of this by default, which size/repository-index says where Flux reads an index:
# this only bounds what a server can make us hold
MAX_INDEX: Final = 100 << 20
# Helm unpacks up to 100 MiB, Flux takes packages up to 10 MiB by default: this bounds what a server can make us store
MAX_PACKAGE: Final = 50 << 20
_NOTE: Final = "index"
# what may be sent back as a header's value: one line of latin-1
_HEADER: Final = msgspec.Meta(pattern=r"\A[\t\x20-\x7e\x80-\xff]*\Z")
# how many read charts a run keeps
_CHARTS: Final = 64


@dataclass(frozen=True)
class Candidate:
    """A version that a repository offers.

    `version` is as published; `source` the URL of the package, or a tag; `digest` what the index claims: nothing is
    decided by it.
    """

    version: str
    source: str
    digest: str | None = None


@dataclass(frozen=True)
class Package:
    """A chart package: the bytes of the .tgz, their digest, the chart in them, and the version in its Chart.yaml.

    `manifest_digest` is that of the OCI manifest it came by, if it came by one.
    """

    content: bytes = field(repr=False)
    digest: str
    version: str
    chart: chart.Chart = field(repr=False)
    manifest_digest: str | None = None


class KeptIndex(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a server said about an index, whose bytes are in the cache: the headers ETag and Last-Modified."""

    digest: Annotated[str, msgspec.Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z")]
    etag: Annotated[str, _HEADER] = ""
    modified: Annotated[str, _HEADER] = ""


settled(KeptIndex)


class Repositories:
    """Where charts come from. Safe to share between threads.

    `registry` opens a registry by its host. `credentials` are for http(s) repositories, by URL; each is sent to its
    own origin only. `progress` is told, from any thread, what is being downloaded. Every method may raise WorldError.
    """

    def __init__(
        self,
        cache: Cache,
        *,
        registry: Callable[[str], Registry],
        credentials: Mapping[str, Credential] | None = None,
        offline: bool = False,
        patience: Patience | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self._cache = cache
        self._registry = Once(registry)
        self._credentials = {url.rstrip("/"): credential for url, credential in (credentials or {}).items()}
        self._offline = offline
        self._progress = progress or (lambda _: None)
        self._client = Client(patience or Patience())
        self._index = Once(self._download_index)
        self._tags = Once(self._list_tags)
        self._downloading: defaultdict[tuple[str, ...], threading.Lock] = defaultdict(threading.Lock)
        self._downloads = threading.Lock()
        self._arrived: dict[tuple[str, ...], tuple[str, str | None]] = {}

    # --- which versions there are

    def versions(self, repository: str, name: str) -> tuple[Candidate, ...]:
        """List all versions that Helm could choose, the newest first; Unresolvable if there is no such chart."""
        if _is_oci(repository):
            place = _chart_reference(repository, name)
            tags = self._tags(place)
            if not tags:
                raise Unresolvable(name, repository, "", "there is no such chart, or it has no tags")
            return tuple(Candidate(version, tag) for version, tag in versions_of(tags))
        listing = self._listing(repository, name)
        return tuple(
            Candidate(entry.version, _source(repository, entry.url), entry.digest)
            for entry in listing.entries
            if entry.url is not None
        )

    def warnings(self, repository: str, name: str) -> tuple[str, ...]:
        """Say which entries of the chart its repository's index has in vain."""
        return () if _is_oci(repository) else self._listing(repository, name).warnings

    def index_size(self, repository: str) -> int:
        """Say how many bytes the index of an http(s) repository has, unpacked."""
        return self._index(repository.removesuffix("/")).size

    def find(self, repository: str, name: str, constraint: str) -> Candidate:
        """Choose a version as Helm does; Unresolvable if none is allowed, or the constraint is none.

        In a registry an exact version is the tag itself, and nothing else: `1.2` does not find `1.2.0`.
        """
        try:
            wanted = Constraint.parse(constraint)
        except ValueError as error:
            raise Unresolvable(name, repository, constraint, str(error)) from error
        if _is_oci(repository) and wanted.is_exact:
            return self._exact(repository, name, constraint)
        candidates = self.versions(repository, name)
        for candidate in candidates:
            if wanted.allows(Version.parse(candidate.version)):
                return candidate
        if not candidates and _is_oci(repository):
            raise _no_strict_version(name, repository, constraint, self._tags(_chart_reference(repository, name)))
        raise Unresolvable(name, repository, constraint, "no version matches", _texts(candidates))

    def _exact(self, repository: str, name: str, version: str) -> Candidate:
        place = _chart_reference(repository, name)
        tag = tag_of(version)
        self._require_network(f"looking for {name} {version} in {repository}")
        if self._registry(place.host).resolve(place.repository, tag) is not None:
            return Candidate(version, tag)
        try:
            tags = self._tags(place)
        except WorldError:
            tags = ()
        known = tuple(found for found, _ in versions_of(tags))
        hint = f"write v{tag}" if f"v{tag}" in tags else ""
        raise Unresolvable(name, repository, version, f"there is no tag {tag}", known, hint=hint)

    def _list_tags(self, place: Reference) -> tuple[str, ...]:
        self._require_network(f"listing the versions of oci://{place}")
        self._progress(f"listing the versions of oci://{place}")
        return self._registry(place.host).tags(place.repository)

    def _listing(self, repository: str, name: str) -> Listing:
        index = self._index(repository.removesuffix("/"))
        try:
            listing = index.listing(name)
        except IndexFault as error:
            raise _unusable(repository, error) from error
        if listing is None:
            hint = did_you_mean(name, index.names)
            raise Unresolvable(name, repository, "", "its index does not have the chart", hint=hint)
        return listing

    # --- packages

    def fetch(
        self,
        repository: str,
        name: str,
        version: str | Candidate,
        *,
        digest: str | None = None,
        manifest_digest: str | None = None,
    ) -> Package:
        """Give a chart package. With a digest (a lock's), from the cache if it is there.

        Without one it is downloaded, once per process. Republished if what arrives has another digest; OfflineMiss if
        it would have to be downloaded.
        """
        wanted = _Wanted(repository, name, version, digest, manifest_digest)
        found = self._kept(wanted)
        if found:
            return found
        if self._offline:
            raise OfflineMiss(name, wanted.version, repository, digest)
        with self._only_one(wanted.key):
            return self._kept(wanted) or self._downloaded(wanted)

    def _kept(self, wanted: _Wanted) -> Package | None:
        """Look in the cache: by the lock's digest, or by what this process downloaded already."""
        digest, manifest = wanted.digest, wanted.manifest_digest
        if digest is None:
            arrived = self._arrived.get(wanted.key)
            if arrived is None:
                return None
            digest, manifest = arrived
        content = self._cache.read(digest)
        return None if content is None else _package(wanted, content, digest, manifest)

    def _downloaded(self, wanted: _Wanted) -> Package:
        source = self._locate(wanted)
        if isinstance(source, Reference):
            content, manifest = self._from_registry(wanted, source)
        else:
            content, manifest = self._from_server(wanted, source), None
        digest = Digest.of(content)
        if wanted.digest not in {None, digest}:
            raise Republished(wanted.name, wanted.version, wanted.repository, str(wanted.digest), digest)
        package = _package(wanted, content, digest, manifest)
        self._cache.write(content)
        self._arrived[wanted.key] = (digest, manifest)
        return package

    def _locate(self, wanted: _Wanted) -> Reference | str:
        """Say where the package is: a tag in a registry, or a URL. An index may name a registry, too: bitnami does."""
        if _is_oci(wanted.repository):
            place = _chart_reference(wanted.repository, wanted.name)
            return Reference(place.host, place.repository, tag_of(wanted.version))
        source = wanted.source or self._published(wanted)
        if not source.startswith("oci://"):
            return source
        try:
            return Reference.parse(source)
        except ValueError as error:
            raise WorldError(f"{wanted}: its index names what is no chart in a registry: {error}") from error

    def _published(self, wanted: _Wanted) -> str:
        candidates = self.versions(wanted.repository, wanted.name)
        source = next((item.source for item in candidates if item.version == wanted.version), None)
        if source is None:
            raise WorldError(
                f"{wanted} is no longer in the index of its repository",
                hint="lock again, to move to a version that is there",
            )
        return source

    def _from_registry(self, wanted: _Wanted, place: Reference) -> tuple[bytes, str]:
        registry = self._registry(place.host)
        self._progress(f"downloading oci://{place}")
        try:
            manifest = registry.manifest(place.repository, place.tag or place.digest or "")
        except NotFound:
            # a tag may be gone while what it named is still there, and that is what the lock names
            if not wanted.manifest_digest:
                raise
            manifest = registry.manifest(place.repository, wanted.manifest_digest)
        found = manifest.descriptor.digest
        if wanted.manifest_digest not in {None, found}:
            raise Republished(
                wanted.name, wanted.version, wanted.repository, str(wanted.manifest_digest), found, what="manifest"
            )
        layer = chart_layer(manifest, f"oci://{place}")
        content = self._cache.read(layer.digest)
        if content is None:
            content = registry.blob(place.repository, layer, max_size=MAX_PACKAGE)
        return content, found

    def _from_server(self, wanted: _Wanted, url: str) -> bytes:
        self._progress(f"downloading {wanted.name} {wanted.version} from {shown(url)}")
        doing = f"downloading {wanted.name} {wanted.version} from {shown(url)}"
        credential = self._credential(wanted.repository) if is_same_origin(url, wanted.repository) else None
        return self._client.read(url, doing=doing, max_size=MAX_PACKAGE, credential=credential).content

    def _only_one(self, key: tuple[str, ...]) -> threading.Lock:
        with self._downloads:
            return self._downloading[key]

    # --- indexes

    def _download_index(self, repository: str) -> Index:
        base, _ = split_userinfo(repository)
        doing = f"reading the index of {shown(base)}"
        self._require_network(doing)
        self._progress(doing)
        url = _index_url(base)
        content, headers = self._fresh(url, self._credential(repository), doing)
        try:
            index = Index(content)
        except IndexFault as error:
            raise _unusable(base, error) from error
        self._remember(url, headers, content)
        return index

    def _fresh(self, url: str, credential: Credential | None, doing: str) -> tuple[bytes, Mapping[str, str]]:
        """Read a URL, or learn that what the cache has is what the server has; gives the headers that go with it."""
        note, kept = self._remembered(url)
        headers = {"If-None-Match": note.etag, "If-Modified-Since": note.modified} if note else {}
        headers = {name: value for name, value in headers.items() if value}
        answer = self._client.read(
            url, doing=doing, max_size=MAX_INDEX, credential=credential, headers=headers, unpack=True
        )
        if answer.status == 304:
            if kept is None:
                raise WorldError(f"{doing}: the server says that nothing changed, though it was not asked that")
            return kept, {}
        return answer.content, answer.headers

    def _remembered(self, url: str) -> tuple[KeptIndex | None, bytes | None]:
        try:
            note = msgspec.json.decode(self._cache.note(_NOTE, url) or b"", type=KeptIndex)
        except msgspec.DecodeError:
            return None, None  # there is none, or another version of Brolly wrote it
        kept = self._cache.read(note.digest)
        return (None, None) if kept is None else (note, kept)

    def _remember(self, url: str, headers: Mapping[str, str], content: bytes) -> None:
        etag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
        if etag or modified:
            note = KeptIndex(str(self._cache.write(content)), etag, modified)
            self._cache.put_note(_NOTE, url, msgspec.json.encode(note))

    def _credential(self, repository: str) -> Credential | None:
        url, given = split_userinfo(repository)
        return given or self._credentials.get(url.rstrip("/"))

    def _require_network(self, doing: str) -> None:
        if self._offline:
            raise WorldError(f"{doing}: there is no network with --offline", hint="run once without --offline")


@dataclass(frozen=True)
class _Wanted:
    """A package that was asked for."""

    repository: str
    name: str
    asked: str | Candidate
    digest: str | None
    manifest_digest: str | None

    @property
    def version(self) -> str:
        return self.asked.version if isinstance(self.asked, Candidate) else self.asked

    @property
    def source(self) -> str | None:
        return self.asked.source if isinstance(self.asked, Candidate) else None

    @property
    def key(self) -> tuple[str, ...]:
        return (self.digest,) if self.digest else (self.repository, self.name, self.version)

    def __str__(self) -> str:
        return printable(f"{self.name} {self.version} from {shown_repository(self.repository)}")


def shown_repository(repository: str) -> str:
    """Write a repository's address for a message: without user name and password."""
    return printable(repository) if _is_oci(repository) else shown(repository)


def _is_oci(repository: str) -> bool:
    return repository.startswith("oci://")


def _chart_reference(repository: str, name: str) -> Reference:
    try:
        return chart_reference(repository, name)
    except ValueError as error:
        raise Unresolvable(name, repository, "", str(error)) from error


def _no_strict_version(name: str, repository: str, constraint: str, tags: tuple[str, ...]) -> Unresolvable:
    """Explain the tags that Helm's ranges do not see (helm #11107)."""
    some = ", ".join(tags[-5:])
    reason = f"none of its tags is a version of three numbers, and a range sees no other: {some}"
    return Unresolvable(name, repository, constraint, reason, hint=f"write a tag as it is, such as {tags[-1]}")


def _index_url(repository: str) -> str:
    try:
        return resolve_reference(repository, "index.yaml")
    except ValueError:
        return repository  # what is no URL is refused, by its name, when it is read


def _source(repository: str, url: str) -> str:
    try:
        return resolve_reference(split_userinfo(repository)[0], url)
    except ValueError:
        return url


def _texts(candidates: tuple[Candidate, ...]) -> tuple[str, ...]:
    return tuple(candidate.version for candidate in candidates)


def _unusable(repository: str, error: IndexFault) -> WorldError:
    return WorldError(
        f"reading the index of {shown(repository)}: Helm cannot use it: {error}",
        hint="tell those who publish the repository; a copy of the chart in an oci:// registry does not need an index",
    )


@lru_cache(maxsize=_CHARTS)
def _read_chart(content: bytes) -> chart.Chart:
    """Read a chart: the same ones come in many bundles."""
    return chart.read_package(content)


def _package(wanted: _Wanted, content: bytes, digest: str, manifest: str | None) -> Package:
    try:
        read = _read_chart(content)
    except ValueError as error:
        raise WorldError(f"{wanted} is no chart package: {printable(str(error))}") from error
    if read.name != wanted.name or not _is_equal(read.version, wanted.version):
        raise WorldError(
            f"{wanted}: the package holds {printable(read.name)} {printable(read.version)}, "
            f"another chart or version than was asked for",
            hint="tell those who publish the repository, or check the lock",
        )
    return Package(content, digest, read.version, read, manifest)


def _is_equal(one: str, other: str) -> bool:
    """Compare as Helm does: `v1.2` is 1.2.0, and build metadata does not count."""
    try:
        return Version.parse(one) == Version.parse(other)
    except ValueError:
        return one == other
