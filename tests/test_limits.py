"""Limits: what is over is an error, from 80 % a warning; a bundle tightens, and loosens with a reason."""

from __future__ import annotations

import pytest

from brolly import limits
from brolly.findings import Severity
from brolly.limits import CHART_PACKAGE, CONFIG_MAP, Measure, Setting


def found(size: int, **settings: limits.Given) -> list[tuple[str, str]]:
    named = {name.replace("_", "-"): setting for name, setting in settings.items()}
    rules = limits.policy({}, named)
    return [(one.code, one.severity) for one in limits.check([Measure(CONFIG_MAP, size, "values of x")], rules)]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, []),
        (838_860, []),
        (838_861, [("size/config-map", "warning")]),
        (1 << 20, [("size/config-map", "warning")]),
        ((1 << 20) + 1, [("size/config-map", "error")]),
    ],
)
def test_a_limit_is_an_error_above_it_and_a_warning_from_80_percent(size: int, expected: list[tuple[str, str]]) -> None:
    assert found(size) == expected


def test_a_bundle_tightens_a_limit() -> None:
    assert found(5000, config_map="4Ki") == [("size/config-map", "error")]
    assert found(5000, config_map=4096) == [("size/config-map", "error")]


def test_a_policy_makes_an_error_a_warning() -> None:
    setting = Setting(severity=Severity.WARNING, reason="we split it on the cluster")
    assert found(2 << 20, config_map=setting) == [("size/config-map", "warning")]


def test_a_bundles_limit_stands_over_the_workspaces() -> None:
    rules = limits.policy({"config-map": "1Ki"}, {"config-map": Setting(severity=Severity.WARNING)})
    assert rules.limit_of(CONFIG_MAP) == 1024
    assert rules.severity_of(CONFIG_MAP) is Severity.WARNING


def test_loosening_needs_a_reason() -> None:
    settings: dict[str, limits.Given] = {
        "config-map": "2Mi",
        "secret": Setting(severity=Severity.WARNING),
        "chart-package": Setting("20Mi", "our Flux runs with --helm-chart-max-size=20Mi"),
        "object": "1Mi",
    }
    assert list(limits.loosened(settings)) == ["config-map", "secret"]


def test_loosening_is_what_is_more_than_would_hold_otherwise() -> None:
    why = "our clusters run with more"
    workspace = limits.policy(
        {},
        {
            "release-record": "10Ki",
            "chart-package": Setting("5Ki", severity=Severity.ERROR),
            "object": Setting("3Mi", why),
            "secret": Setting(severity=Severity.WARNING, reason=why),
        },
    )
    higher: dict[str, limits.Given] = {"release-record": "900Ki", "object": "2Mi", "config-map": "1Mi"}
    assert list(limits.loosened(higher, workspace)) == ["release-record"]
    softer: dict[str, limits.Given] = {
        name: Setting(severity=Severity.WARNING) for name in ("chart-package", "secret", "config-map")
    }
    assert list(limits.loosened(softer, workspace)) == ["chart-package", "config-map"]
    assert list(limits.loosened({"release-record": Setting("900Ki", why)}, workspace)) == []


def test_a_message_says_how_large_and_how_large_it_may_be() -> None:
    (finding,) = limits.check([Measure(CHART_PACKAGE, 11 << 20, "the package of x")], limits.policy({}, {}))
    assert finding.message == "the package of x is 11.00 MiB, the limit is 10.00 MiB"
    assert finding.severity is Severity.WARNING


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), (819200, 819200), ("512Ki", 524288), ("3Mi", 3145728), ("1Gi", 1 << 30)]
)
def test_a_quantity_is_read_as_kubernetes_writes_it(text: str | int, size: int) -> None:
    assert limits.quantity(text) == size


@pytest.mark.parametrize("text", ["", "0", 0, "-1", -1, "1.5Mi", "1MB", "1 Mi", "1mi", "9" * 16])
def test_what_is_no_quantity_is_refused(text: str | int) -> None:
    with pytest.raises(ValueError, match="not a number of bytes"):
        limits.quantity(text)
