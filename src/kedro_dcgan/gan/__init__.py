"""The networks, the loss, the loop and sampling: torch and numpy only, so that it runs wherever torch runs."""
