"""The gateway worker's end of the model host."""
