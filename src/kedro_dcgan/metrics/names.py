"""How metrics are named: what decides the number stands in its name."""


def short_count(count: int) -> str:
    """Return 10k for 10,000 and 373 for 373."""
    return f"{count // 1000}k" if count % 1000 == 0 else str(count)
