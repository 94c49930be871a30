"""The format of a cache on disk: manifest, columns and the containers of shards."""
