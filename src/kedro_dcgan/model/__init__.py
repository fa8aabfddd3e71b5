"""Networks, losses, the training loop and sampling: the library part, which imports no framework."""
