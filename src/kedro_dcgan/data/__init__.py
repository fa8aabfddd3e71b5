"""Images as arrays and bytes: decode, crop, scale, split, store, show. No path and no framework here."""
