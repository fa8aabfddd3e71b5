"""Metrics on features of images: one paper a file, float64, no hidden download."""
