"""From files of any kind to prepared images: sources, decoding, transforms, shards, manifest."""
