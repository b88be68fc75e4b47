"""The release record that Helm 4 will store: its JSON, its size and an upper bound, and what it is made of.

Helm marshals the release, compresses it, and keeps the base64 of that as `data.release` of a Secret, whose data
Kubernetes limits to 1 MiB (pkg/core/validation, MaxSecretSize). Of a chart it stores the parent's own files; of
subcharts only what they render, and their defaults. Source: helm v4.2.3 pkg/release/v1, pkg/chart/v2,
pkg/storage/driver/util.go; real records judge it in tests.
"""

from brolly.release.attribution import LIMIT, Attribution, Cause, Portion, Share, attribute, cause, remedy
from brolly.release.sizes import Record, record, without
from brolly.release.storing import Parent, Part, parent

__all__ = [
    "LIMIT",
    "Attribution",
    "Cause",
    "Parent",
    "Part",
    "Portion",
    "Record",
    "Share",
    "attribute",
    "cause",
    "parent",
    "record",
    "remedy",
    "without",
]
