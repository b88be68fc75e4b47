"""Digests of what goes in: they decide whether anything is to be done."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from brolly.oci import Digest, compact_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brolly.sources import Settings, Sources


def inputs_digest(sources: Sources, settings: Settings) -> str:
    """Hash what decides the bytes of a bundle's artifacts: it stands in an annotation of each."""
    return _digest(sources.shipped(), settings)


def fingerprint(sources: Sources, settings: Settings, identity: str, policy: str = "") -> str:
    """Hash all that goes into a bundle's outcome: overlays, local charts, the workspace's policy, and what computes.

    The folder, too: a bundle has its name, and findings have it in their paths.
    """
    return _digest(sources.files, settings, identity, policy, sources.folder)


def _digest(files: Mapping[str, bytes], settings: Settings, *more: str) -> str:
    hashes = [(name, hashlib.sha256(content).hexdigest()) for name, content in sorted(files.items())]
    labels = [settings.part_of_label, settings.version_label, sorted(settings.extra_labels.items())]
    return str(Digest.of(compact_json([hashes, settings.address, settings.epoch, labels, *more])))
