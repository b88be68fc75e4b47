"""An API server on loopback that takes objects of any kind, into which Helm's engine really installs.

It keeps what it is given, answers with what an idle cluster would say (jobs complete, pods succeed, definitions are
established), and enforces the limits that a release record meets: 3 MiB for a request and 1 MiB for a Secret. `records`
gives the release records that Helm stored. The engine runs in a process of its own (`python api_server.py`): Go reads
its environment at its start, and must not be loaded in a process that forks.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, TYPE_CHECKING, Any, Final, Self, cast
from urllib.parse import parse_qs, urlsplit

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

MAX_REQUEST: Final = 3 << 20
MAX_SECRET: Final = 1 << 20
_VERSION: Final = {"major": "1", "minor": "36", "gitVersion": "v1.36.0", "platform": "linux/amd64"}
# what Helm takes for granted without a cluster (its default capabilities), so that templates decide alike with one
_GROUP_VERSIONS: Final = (
    "v1", "admissionregistration.k8s.io/v1", "admissionregistration.k8s.io/v1alpha1",
    "admissionregistration.k8s.io/v1beta1", "internal.apiserver.k8s.io/v1alpha1", "apps/v1", "apps/v1beta1",
    "apps/v1beta2", "authentication.k8s.io/v1", "authentication.k8s.io/v1alpha1", "authentication.k8s.io/v1beta1",
    "authorization.k8s.io/v1", "authorization.k8s.io/v1beta1", "autoscaling/v1", "autoscaling/v2", "batch/v1",
    "batch/v1beta1", "certificates.k8s.io/v1", "certificates.k8s.io/v1beta1", "certificates.k8s.io/v1alpha1",
    "coordination.k8s.io/v1alpha2", "coordination.k8s.io/v1beta1", "coordination.k8s.io/v1", "discovery.k8s.io/v1",
    "discovery.k8s.io/v1beta1", "events.k8s.io/v1", "events.k8s.io/v1beta1", "extensions/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1", "flowcontrol.apiserver.k8s.io/v1beta1", "flowcontrol.apiserver.k8s.io/v1beta2",
    "flowcontrol.apiserver.k8s.io/v1beta3", "networking.k8s.io/v1", "networking.k8s.io/v1beta1", "node.k8s.io/v1",
    "node.k8s.io/v1alpha1", "node.k8s.io/v1beta1", "policy/v1", "policy/v1beta1", "rbac.authorization.k8s.io/v1",
    "rbac.authorization.k8s.io/v1beta1", "rbac.authorization.k8s.io/v1alpha1", "resource.k8s.io/v1",
    "resource.k8s.io/v1beta2", "resource.k8s.io/v1beta1", "resource.k8s.io/v1alpha3", "scheduling.k8s.io/v1alpha2",
    "scheduling.k8s.io/v1beta1", "scheduling.k8s.io/v1", "storage.k8s.io/v1beta1", "storage.k8s.io/v1",
    "storage.k8s.io/v1alpha1", "storagemigration.k8s.io/v1beta1", "apiextensions.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1",
)  # fmt: skip
_ALWAYS: Final = (
    ("v1", "Secret"), ("v1", "ConfigMap"), ("v1", "Pod"), ("v1", "Namespace"), ("v1", "Service"), ("batch/v1", "Job"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
)  # fmt: skip
_CLUSTER_SCOPED: Final = re.compile(
    r"Namespace|Node|PersistentVolume|Cluster\w*|CustomResourceDefinition|APIService|\w+WebhookConfiguration|"
    r"(?:Mutating|Validating)AdmissionPolicy(?:Binding)?|PriorityClass|StorageClass|IngressClass|RuntimeClass|CSIDriver|"
    r"PodSecurityPolicy|GatewayClass|VolumeSnapshotClass|PriorityLevelConfiguration|FlowSchema|DeviceClass"
)
_AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
Kind = tuple[str, str]


# -- the store ------------------------------------------------------------------------------------------------------


@dataclass
class _Store:
    """Objects by the path of their collection and their name, and the events that watchers have not seen."""

    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    events: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    records: list[tuple[str, bytes]] = field(default_factory=list)

    def clear(self) -> None:
        with self.changed:
            self.objects.clear()
            self.events.clear()
            self.records.clear()

    def put(self, collection: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        with self.changed:
            event = "MODIFIED" if (collection, name) in self.objects else "ADDED"
            metadata = dict(given.get("metadata") or {}, name=name, resourceVersion=str(len(self.events) + 2))
            metadata |= {"uid": f"{hash((collection, name)) & 0xFFFFFFFF:032x}", "generation": 1}
            metadata.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
            known = {**given, "metadata": metadata} | _idle_status(str(given.get("kind", "")))
            self.objects[collection, name] = known
            self.events.append((event, collection, known))
            self.changed.notify_all()
        return known

    def remove(self, collection: str, name: str) -> dict[str, Any] | None:
        with self.changed:
            known = self.objects.pop((collection, name), None)
            if known:
                self.events.append(("DELETED", collection, known))
                self.changed.notify_all()
        return known

    def below(self, collection: str) -> list[dict[str, Any]]:
        """List a collection; one without a namespace has those of all namespaces."""
        with self.changed:
            return [found for (where, _), found in self.objects.items() if _is_below(where, collection)]


def _is_below(where: str, collection: str) -> bool:
    return where == collection or re.sub(r"/namespaces/[^/]+(?=/)", "", where) == collection


def _idle_status(kind: str) -> dict[str, Any]:
    """Say what a controller would have said."""
    condition = {"status": "True", "reason": "Done", "message": ""}
    match kind:
        case "Job":
            conditions = [{"type": kind, **condition} for kind in ("SuccessCriteriaMet", "Complete")]
            return {"status": {"succeeded": 1, "startTime": "2026-01-01T00:00:00Z", "conditions": conditions}}
        case "Pod":
            return {"status": {"phase": "Succeeded", "conditions": [{"type": "Ready", **condition}]}}
        case "CustomResourceDefinition":
            return {
                "status": {"conditions": [{"type": each, **condition} for each in ("NamesAccepted", "Established")]}
            }
        case _:
            return {}


# -- the server -----------------------------------------------------------------------------------------------------


class ApiServer:
    """The server; within its context it answers on `url`. `kinds` are (apiVersion, kind) that it knows beside its own.

    A kind that it is not told does not exist, as in a cluster: Helm refuses to install an object of it.
    """

    def __init__(self) -> None:
        self.store = _Store()
        self.kinds: set[Kind] = set(_ALWAYS)
        self._http = _Listener(("127.0.0.1", 0), _Handler)
        self._http.api = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def reset(self, kinds: Iterable[Kind] = ()) -> None:
        """Forget all objects, and know these kinds."""
        self.store.clear()
        self.kinds = {*_ALWAYS, *kinds}

    def records(self) -> list[bytes]:
        """Give each accepted text of `data.release`, in the order in which they were written."""
        return [data for _, data in self.store.records]

    def resources(self, group_version: str) -> list[dict[str, Any]]:
        verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
        return [
            {"name": _plural(kind), "singularName": kind.lower(), "kind": kind, "verbs": verbs}
            | {"namespaced": not _CLUSTER_SCOPED.fullmatch(kind)}
            for known, kind in sorted(self.kinds)
            if known == group_version
        ]

    def kind_of(self, place: _Place) -> str:
        known = self.resources(place.group_version)
        return next((str(found["kind"]) for found in known if found["name"] == place.resource), "Unknown")

    def group_versions(self) -> list[str]:
        told = sorted({version for version, _ in self.kinds} - set(_GROUP_VERSIONS))
        return [*_GROUP_VERSIONS, *told]


def _discovered(resource: Mapping[str, Any], group: str, version: str) -> dict[str, Any]:
    return {
        "resource": resource["name"],
        "singularResource": resource["singularName"],
        "responseKind": {"group": group, "version": version, "kind": resource["kind"]},
        "scope": "Namespaced" if resource["namespaced"] else "Cluster",
        "verbs": resource["verbs"],
    }


def _plural(kind: str) -> str:
    name = kind.lower()
    if name.endswith("s"):
        return name + "es" if not name.endswith("endpoints") else name
    return name[:-1] + "ies" if re.search(r"[^aeiou]y$", name) else name + "s"


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    # an install opens a connection per object; the default of 5 drops some
    request_queue_size = 128
    api: ApiServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that leave."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # headers and body go out in one segment each: without this Nagle's algorithm waits for an acknowledgement
    disable_nagle_algorithm = True
    wbufsize = -1

    @property
    def api(self) -> ApiServer:
        return cast("_Listener", self.server).api

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        # all kinds in one answer, in place of a request for each group; Helm's status watcher, which asks without a
        # timeout, makes nothing of this form
        if url.path in {"/api", "/apis"} and query.get("timeout") and "APIGroupDiscoveryList" in self.headers["Accept"]:
            return self._send(200, self._discovery(url.path), _AGGREGATED)
        if document := self._document(url.path):
            return self._send(200, document)
        if url.path == "/openapi/v2":
            return self._send_bytes(200, _openapi_v2(self.api.kinds), "application/octet-stream")
        place = _Place.of(url.path)
        if place is None:
            return self._refuse(404, "NotFound", f"{url.path} not found")
        if query.get("watch") in {"1", "true"}:
            return self._watch(place, query)
        if place.name:
            known = self.api.store.objects.get((place.collection, place.name))
            return self._send(200, known) if known else self._missing(place)
        return self._list(place, query)

    def do_POST(self) -> None:
        body = self._body()
        place = _Place.of(urlsplit(self.path).path)
        if body is None:
            return None
        if place is None:  # an access review: everything is allowed
            return self._send(201, {**body, "status": {"allowed": True}})
        name = str(body.get("metadata", {}).get("name", ""))
        if (place.collection, name) in self.api.store.objects:
            return self._refuse(409, "AlreadyExists", f'{place.resource} "{name}" already exists')
        return self._put(place, name, body, 201)

    def do_PUT(self) -> None:
        body, place = self._body(), _Place.of(urlsplit(self.path).path)
        if body is None or place is None:
            return None
        return self._put(place, place.name, body, 200)

    def do_PATCH(self) -> None:
        body, place = self._body(), _Place.of(urlsplit(self.path).path)
        if body is None or place is None:
            return None
        known = self.api.store.objects.get((place.collection, place.name), {})
        return self._put(place, place.name, _merged(known, body), 200 if known else 201)

    def do_DELETE(self) -> None:
        self._body()
        place = _Place.of(urlsplit(self.path).path)
        known = place and self.api.store.remove(place.collection, place.name)
        if place and not known:
            return self._missing(place)
        return self._send(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def _document(self, path: str) -> dict[str, Any] | None:
        parts = path.strip("/").split("/")
        match parts:
            case ["version"]:
                return _VERSION
            case ["api"]:
                return {"kind": "APIVersions", "versions": ["v1"]}
            case ["apis"]:
                return {"kind": "APIGroupList", "apiVersion": "v1", "groups": self._groups()}
            case ["api", version]:
                return self._resource_list(version)
            case ["apis", group, version]:
                return self._resource_list(f"{group}/{version}")
            case ["openapi", "v3"]:
                return {
                    "paths": {_root(each): {"serverRelativeURL": f"/openapi/v3/{_root(each)}"} for each in self._all()}
                }
            case ["openapi", "v3", *root]:
                return _openapi("/".join(root), self.api.resources("/".join(root[1:])))
            case _:
                return None

    def _all(self) -> list[str]:
        return self.api.group_versions()

    def _groups(self) -> list[dict[str, Any]]:
        groups: dict[str, list[dict[str, str]]] = {}
        for each in self._all():
            group, _, version = each.rpartition("/")
            if group:
                groups.setdefault(group, []).append({"groupVersion": each, "version": version})
        return [{"name": name, "versions": known, "preferredVersion": known[0]} for name, known in groups.items()]

    def _discovery(self, path: str) -> dict[str, Any]:
        groups: dict[str, list[dict[str, Any]]] = {}
        for each in self._all():
            group, _, version = each.rpartition("/")
            if bool(group) == (path == "/apis"):
                resources = [_discovered(found, group, version) for found in self.api.resources(each)]
                known = {"version": version, "freshness": "Current", "resources": resources}
                groups.setdefault(group, []).append(known)
        items = [{"metadata": {"name": name}, "versions": versions} for name, versions in groups.items()]
        return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": items}

    def _resource_list(self, group_version: str) -> dict[str, Any] | None:
        if group_version not in self._all():
            return None
        resources = self.api.resources(group_version)
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}

    def _body(self) -> dict[str, Any] | None:
        size = int(self.headers.get("Content-Length", 0))
        content = self.rfile.read(size)
        if size > MAX_REQUEST:
            self._refuse(413, "RequestEntityTooLarge", f"Request entity too large: limit is {MAX_REQUEST}")
            return None
        if content.startswith(b"k8s\x00"):
            return _secret(content)
        found = yaml.load(content, yaml.CSafeLoader) if self._is_yaml() else json.loads(content or b"{}")
        return dict(found or {})

    def _is_yaml(self) -> bool:
        # Helm sends JSON under this type; YAML is a superset, but slow
        return "yaml" in self.headers.get("Content-Type", "") and self.command != "PATCH"

    def _put(self, place: _Place, name: str, body: dict[str, Any], status: int) -> None:
        if place.resource == "secrets":
            data = {key: base64.b64decode(text) for key, text in (body.get("data") or {}).items()}
            if sum(map(len, data.values())) > MAX_SECRET:
                reason = f'Secret "{name}" is invalid: data: Too long: may not be more than {MAX_SECRET} bytes'
                return self._refuse(422, "Invalid", reason)
            if body.get("type") == "helm.sh/release.v1":
                self.api.store.records.append((name, data["release"]))
        return self._send(status, self.api.store.put(place.collection, name, body))

    def _list(self, place: _Place, query: Mapping[str, str]) -> None:
        items = [found for found in self.api.store.below(place.collection) if _is_selected(found, query)]
        metadata = {"resourceVersion": str(len(self.api.store.events) + 1)}
        head = {"kind": f"{self.api.kind_of(place)}List", "apiVersion": place.group_version, "metadata": metadata}
        return self._send(200, {**head, "items": items})

    def _watch(self, place: _Place, query: Mapping[str, str]) -> None:
        """Tell of what is there, if asked to, then of each change, until the client leaves or its time is over."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        store, deadline = self.api.store, time.monotonic() + min(30.0, float(query.get("timeoutSeconds", 30)))
        seen = int(query.get("resourceVersion") or 0) - 1
        if query.get("sendInitialEvents") == "true" or seen < 0:
            seen = len(store.events)
            for found in store.below(place.collection):
                if _is_selected(found, query):
                    self._chunk({"type": "ADDED", "object": found})
            self._chunk(_bookmark(place, self.api.kind_of(place), seen))
        while time.monotonic() < deadline:
            with store.changed:
                if len(store.events) == seen:
                    store.changed.wait(0.5)
                news, seen = store.events[seen:], len(store.events)
            for kind, collection, found in news:
                if _is_below(collection, place.collection) and _is_selected(found, query):
                    self._chunk({"type": kind, "object": found})
        self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def _chunk(self, event: Mapping[str, Any]) -> None:
        content = json.dumps(event).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()

    def _missing(self, place: _Place) -> None:
        self._refuse(404, "NotFound", f'{place.resource} "{place.name}" not found')

    def _refuse(self, code: int, reason: str, message: str) -> None:
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        self._send(code, {**status, "reason": reason, "message": message, "code": code})

    def _send(self, code: int, document: Mapping[str, Any] | None, media_type: str = "application/json") -> None:
        self._send_bytes(code, json.dumps(document).encode(), media_type)

    def _send_bytes(self, code: int, content: bytes, media_type: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()


@dataclass(frozen=True)
class _Place:
    """Where a path leads: a collection, and the name of one of its objects or ""."""

    collection: str
    group_version: str
    resource: str
    name: str

    @classmethod
    def of(cls, path: str) -> _Place | None:
        found = re.fullmatch(
            r"/(?:api|apis/[^/]+)/([^/]+)(?:/namespaces/[^/]+(?=/))?/([^/]+)(?:/([^/]+))?(?:/\w+)?", path
        )
        if not found or found[2].endswith("accessreviews"):
            return None
        version, resource, name = found[1], found[2], found[3] or ""
        group = path.split("/")[2] + "/" if path.startswith("/apis/") else ""
        before = path[: path.index(f"/{resource}", path.index(version) + len(version))]
        return cls(f"{before}/{resource}", group + version, resource, name)


def _is_selected(found: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    labels = found.get("metadata", {}).get("labels") or {}
    wanted = [term.partition("=") for term in query.get("labelSelector", "").split(",") if "=" in term]
    names = [
        term.partition("=")[2] for term in query.get("fieldSelector", "").split(",") if term.startswith("metadata.n")
    ]
    return all(labels.get(key) == value for key, _, value in wanted) and all(
        found["metadata"]["name"] == name or found["metadata"].get("namespace") == name for name in names
    )


def _bookmark(place: _Place, kind: str, seen: int) -> dict[str, Any]:
    metadata = {"resourceVersion": str(seen + 1), "annotations": {"k8s.io/initial-events-end": "true"}}
    return {"type": "BOOKMARK", "object": {"kind": kind, "apiVersion": place.group_version, "metadata": metadata}}


def _merged(known: Any, patch: Any) -> Any:
    if not isinstance(known, dict) or not isinstance(patch, dict):
        return patch
    return {**known, **{key: _merged(known.get(key), value) for key, value in patch.items()}}


def _root(group_version: str) -> str:
    return f"apis/{group_version}" if "/" in group_version else f"api/{group_version}"


def _openapi(root: str, resources: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Describe just what Helm looks for: that a PATCH takes `fieldValidation`, so that the server validates."""
    group, _, version = root.partition("/")[2].rpartition("/")
    parameters = [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}]
    paths = {}
    for resource in resources:
        kind = {"group": group, "version": version, "kind": resource["kind"]}
        patch = {"parameters": parameters, "x-kubernetes-group-version-kind": kind, "x-kubernetes-action": "patch"}
        paths[f"/{root}/{resource['name']}/{{name}}"] = {"patch": patch}
    return {"openapi": "3.0.0", "info": {"title": "stub", "version": "1"}, "paths": paths}


def _openapi_v2(kinds: Iterable[Kind]) -> bytes:
    """Say that the kinds exist and may hold anything: Helm asks for it before it sends a list (gnostic's protobuf)."""
    definitions = b"".join(_message((1, _definition(version, kind))) for version, kind in sorted(kinds))
    return _message((1, b"2.0"), (2, _message((1, b"stub"), (2, b"1"))), (8, b""), (9, definitions))


def _definition(api_version: str, kind: str) -> bytes:
    group, _, version = api_version.rpartition("/")
    described = json.dumps([{"group": group, "version": version, "kind": kind}]).encode()
    extension = _message((1, b"x-kubernetes-group-version-kind"), (2, _message((2, described))))
    return _message((1, f"{api_version}.{kind}".encode()), (2, _message((31, extension))))


def _message(*fields: tuple[int, bytes]) -> bytes:
    """Write length-delimited fields of a protobuf message."""
    return b"".join(_written(number << 3 | 2) + _written(len(content)) + content for number, content in fields)


def _written(value: int) -> bytes:
    """Write a varint."""
    return bytes([value & 0x7F | 0x80]) + _written(value >> 7) if value > 0x7F else bytes([value])


# -- Kubernetes' protobuf -------------------------------------------------------------------------------------------


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the length-delimited fields of a message: number and content."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        size, at = _varint(message, at)
        if tag & 7 == 2:
            yield tag >> 3, message[at : at + size]
            at += size
        elif tag & 7 != 0:
            raise ValueError(f"unexpected wire type {tag & 7}")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _secret(content: bytes) -> dict[str, Any]:
    """Decode what the engine sends as `k8s`, a zero byte and a runtime.Unknown: a Secret, or only a kind."""
    unknown = dict(_fields(content[4:]))
    kind = dict(_fields(unknown[1]))
    known: dict[str, Any] = {"apiVersion": kind[1].decode(), "kind": kind[2].decode(), "metadata": {}}
    if known["kind"] != "Secret":
        return known
    for number, value in _fields(unknown[2]):
        if number == 1:
            known["metadata"] = _metadata(value)
        elif number == 2:
            entry = dict(_fields(value))
            known.setdefault("data", {})[entry[1].decode()] = base64.b64encode(entry[2]).decode()
        elif number == 3:
            known["type"] = value.decode()
    return known


def _metadata(message: bytes) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for number, value in _fields(message):
        if number in {1, 3}:
            metadata["name" if number == 1 else "namespace"] = value.decode()
        elif number == 11:
            entry = dict(_fields(value))
            metadata.setdefault("labels", {})[entry[1].decode()] = entry[2].decode()
    return metadata


# -- installing -----------------------------------------------------------------------------------------------------


def decoded(record: bytes) -> Any:
    """Read a release record: what `data.release` holds."""
    return json.loads(text_of(record))


def text_of(record: bytes) -> bytes:
    """Unpack a release record to the JSON that Helm wrote."""
    return gzip.decompress(base64.b64decode(record))


class Installer:
    """Helm's engine in its own process, installing into a server. Not for several threads."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TZ": "UTC", "GOGC": "200"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, server.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            cast("IO[bytes]", pipe).close()
        self._process.kill()
        self._process.wait()

    def install(
        self,
        package: bytes,
        values: Mapping[str, Any],
        *,
        name: str,
        namespace: str = "default",
        kinds: Iterable[Kind] = (),
        upgrades: int = 0,
        rolls_back: bool = False,
    ) -> tuple[list[bytes], str]:
        """Install a chart into the emptied server: the records that were stored, the last one last; and the fault.

        It is upgraded to itself so many times, then tested, rolled back to the first and tested again if so asked.
        """
        self._server.reset(kinds)
        request = [base64.b64encode(package).decode(), dict(values), name, namespace, upgrades, rolls_back]
        requests, answers = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
        requests.write(json.dumps(request).encode() + b"\n")
        requests.flush()
        answer = answers.readline()
        return self._server.records(), json.loads(answer) if answer else "the engine died"


def _serve(url: str) -> None:
    """Install what comes on stdin, one JSON line each; answer with the fault, or with an empty text."""
    import helm_python

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    cluster = {"name": "x", "cluster": {"server": url}}
    context = {"name": "x", "context": {"cluster": "x", "user": "x"}}
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "x", "users": [{"name": "x", "user": {}}]}
    text = json.dumps({**config, "clusters": [cluster], "contexts": [context]})
    for line in sys.stdin.buffer:
        package, values, name, namespace, upgrades, rolls_back = json.loads(line)
        fault = ""
        try:
            with helm_python.Config(kubeconfig_content=text, namespace=namespace, qps=10000, burst_limit=10000) as to:
                acts: list[Callable[..., Any]] = [to.install, *[to.upgrade] * upgrades]
                for act in acts:
                    # a handle is good for one time: Helm changes the chart
                    with helm_python.Chart.load_archive(base64.b64decode(package)) as chart:
                        act(chart, name, values, namespace=namespace, timeout=60)
                if rolls_back:
                    to.test(name, timeout=60)
                    to.rollback(name, version=1, timeout=60)
                    to.test(name, timeout=60)
        except helm_python.HelmError as error:
            fault = str(error) or type(error).__name__
        answers.write(json.dumps(fault).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    _serve(sys.argv[1])
