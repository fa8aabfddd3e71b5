"""Optimisations for this machine. The loop and the step run without them."""
