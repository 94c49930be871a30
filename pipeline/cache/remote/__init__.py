"""Published caches: object stores, uploads, downloads and the local cache of downloads."""
