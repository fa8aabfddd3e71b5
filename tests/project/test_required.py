"""With REQUIRE_ALL, tests fail without the programs that they need; otherwise they are skipped."""

import pytest
from projects import require_program


@pytest.mark.parametrize(
    ("value", "is_installed", "is_skipped"),
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
def test_require_all_is_off_if_it_is_empty_or_zero(value, is_installed, is_skipped, monkeypatch):
    monkeypatch.delenv("REQUIRE_ALL", raising=False)
    if value is not None:
        monkeypatch.setenv("REQUIRE_ALL", value)
    assert require_program("a program", is_installed).args == (is_skipped,)
