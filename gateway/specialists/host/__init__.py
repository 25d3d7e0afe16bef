"""The model host: the process that owns every local model."""
