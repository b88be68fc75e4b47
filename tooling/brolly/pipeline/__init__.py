"""The whole data flow, one step after the other.

sources ─ authored.read ─▶ Authored ─ lock_bundles ─▶ bundle.lock
                              │
                              └─ build_bundles ─▶ components ─ compile ─▶ artifacts ─ checks ─▶ outcome ─▶ dist/
                                                                                                          │
                                                                                        registry ◀─ publish

What has not changed takes the short way: `unchanged` finds its outcome in the result cache. A face without imports, so
that this way loads nothing heavy.
"""
