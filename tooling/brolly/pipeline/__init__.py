"""The whole data flow, one step after the other.

sources ─ authored.read ─▶ Authored ─ lock_bundles ─▶ bundle.lock
                              │
                              └─ build_bundles ─▶ components ─ compile ─▶ artifacts ─ checks ─▶ outcome ─▶ dist/
                                                                                                          │
                                                                                        registry ◀─ publish
"""

from brolly.pipeline.building import Built, build_bundles, report_of
from brolly.pipeline.locking import Locking, check_locks, lock_bundles
from brolly.pipeline.publishing import Publication, Published, publish
from brolly.pipeline.rendering import Rendered, render_bundle
from brolly.pipeline.shop import Draft, Engines, Shop, settings_of

__all__ = [
    "Built",
    "Draft",
    "Engines",
    "Locking",
    "Publication",
    "Published",
    "Rendered",
    "Shop",
    "build_bundles",
    "check_locks",
    "lock_bundles",
    "publish",
    "render_bundle",
    "report_of",
    "settings_of",
]
