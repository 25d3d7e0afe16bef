"""Rows at rest: Parquet files on any storage, and the manifests that say which of them count."""
