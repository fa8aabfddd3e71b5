"""One training in several processes (ranks)."""
