"""The gateway's end of the model host."""
