"""Metrics on the features of images: one module for each family, in float64. Nothing is downloaded implicitly."""
