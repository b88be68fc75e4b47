"""A client of requests alone that pushes an OCI layout: `plain_client LAYOUT HOST PREFIX THREADS [--verify]`.

It prints the seconds that it took without its start-up.

It does what it must and nothing else: every blob, then the manifest under its tag. It looks for nothing that may be
there, and leaves a half-published bundle behind when it is interrupted. It verifies nothing, or hashes each blob before
it is sent.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests

_LOCAL = threading.local()


def push(layout: Path, host: str, prefix: str, threads: int, *, verifies: bool) -> None:
    """Push all artifacts of a layout; `name-version` is pushed as name:version."""
    manifests = json.loads((layout / "index.json").read_bytes())["manifests"]
    with ThreadPoolExecutor(threads) as executor:
        list(executor.map(lambda manifest: _push(layout, f"http://{host}/v2/{prefix}", manifest, verifies), manifests))


def _session() -> requests.Session:
    if not hasattr(_LOCAL, "session"):
        _LOCAL.session = requests.Session()
    session: requests.Session = _LOCAL.session
    return session


def _push(layout: Path, base: str, entry: dict[str, Any], verifies: bool) -> None:  # noqa: FBT001
    name, _, version = entry["annotations"]["org.opencontainers.image.ref.name"].rpartition("-")
    content = _blob(layout, entry["digest"]).read_bytes()
    manifest = json.loads(content)
    for blob in (manifest["config"], *manifest["layers"]):
        if verifies:
            _verify(layout, blob["digest"])
        started = _session().post(f"{base}/{name}/blobs/uploads/")
        started.raise_for_status()
        place = urljoin(started.url, started.headers["Location"])
        with _blob(layout, blob["digest"]).open("rb") as body:
            answer = _session().put(place, params={"digest": blob["digest"]}, data=body)
        answer.raise_for_status()
    headers = {"Content-Type": entry["mediaType"]}
    _session().put(f"{base}/{name}/manifests/{version}", data=content, headers=headers).raise_for_status()


def _verify(layout: Path, digest: str) -> None:
    with _blob(layout, digest).open("rb") as body:
        if hashlib.file_digest(body, "sha256").hexdigest() != digest.removeprefix("sha256:"):
            raise SystemExit(f"{digest} is damaged")


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / digest.removeprefix("sha256:")


if __name__ == "__main__":
    began = time.perf_counter()
    push(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), verifies="--verify" in sys.argv)
    sys.stdout.write(json.dumps({"seconds": time.perf_counter() - began}))
