import re

import numpy as np
import pytest

from kedro_dcgan.reports.sweep import SweepReport, TrialSummary, format_value, write_sweep_page

TRIALS = [
    TrialSummary(
        0, {"loss": "hinge", "width": 8, "rate": 2e-3}, {1: 900.0, 2: 500.0}, "completed", 500.0, "a", "", 2000
    ),
    TrialSummary(1, {"loss": "hinge", "width": 64, "rate": 1e-4}, {1: 950.0}, "pruned", None, "b", "", 1000),
    TrialSummary(
        2, {"loss": "hinge", "width": 64, "rate": 9e-3}, {1: 300.0, 2: 310.0}, "completed", 300.0, "c", "", 2000
    ),
    TrialSummary(3, {"loss": "hinge", "width": 16, "rate": 0.5}, {}, "failed", None, "d", "its loss is <nan>", 500),
]


def page(trials=TRIALS, **changes):
    values = {
        "name": "sweep-1",
        "metric": "fd_validation",
        "trials": trials,
        "best": 2,
        "claim": "confirmed: 40% below",
        "importances": {"rate": 0.9, "width": 0.1},
        "confirmation": {"best": {1: 310.0}, "baseline": {1: 520.0}},
        "grids": {2: np.zeros((10, 10), dtype=np.uint8)},
        "length": "2.0 kimg",
        "preset": "sweep",
    }
    return write_sweep_page(SweepReport(**{**values, **changes}))


def test_page_has_the_claim_the_preset_and_all_trials_in_order():
    html = page()
    assert "<h1>Confirmed: 40% below</h1>" in html
    assert "kedro run --env=sweep" in html
    numbers = re.findall(r"<tr[^>]*><td>(\d)</td>", html)
    assert numbers == ["2", "0", "1", "3"]
    assert html.count('<tr class="best"><td>2</td>') == 1
    # Of 2 x 2,000 + 1,000 images in finished trials, against 3 x 2,000.
    assert "pruning saved 17% of the images" in html
    assert "its loss is &lt;nan&gt;" in html
    assert html.count("data:image/svg+xml") == 3


def test_page_of_a_single_trial_leaves_out_what_needs_several():
    html = page(TRIALS[:1], best=0, importances={}, confirmation={"best": {}, "baseline": {}}, grids={})
    assert html.count("data:image/svg+xml") == 1
    assert "With other seeds" not in html


def test_page_of_trials_without_any_distance():
    assert "<h1>" in page([TRIALS[3]], importances={}, grids={})


@pytest.mark.parametrize(
    ("value", "text"), [(0.00213, "0.00213"), (3150.4, "3,150"), (16, "16"), (None, "None"), (True, "True")]
)
def test_values_are_format_value_for_people(value, text):
    assert format_value(value) == text
