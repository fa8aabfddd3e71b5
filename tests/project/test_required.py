"""Where REQUIRE_ALL is on, tests fail without the programs that they need; elsewhere they are skipped."""

import pytest
from projects import required


@pytest.mark.parametrize(
    ("value", "is_there", "is_skipped"),
    [
        (None, False, True),
        ("", False, True),
        ("0", False, True),
        ("1", False, False),
        (None, True, False),
        ("0", True, False),
        ("1", True, False),
    ],
)
def test_require_all_is_off_if_it_is_empty_or_zero(value, is_there, is_skipped, monkeypatch):
    monkeypatch.delenv("REQUIRE_ALL", raising=False)
    if value is not None:
        monkeypatch.setenv("REQUIRE_ALL", value)
    assert required("a program", is_there).args == (is_skipped,)
