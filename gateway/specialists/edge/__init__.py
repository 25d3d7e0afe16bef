"""A specialist as a file for a machine without stepdown, and the programs that run there."""
