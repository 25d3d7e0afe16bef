"""Shapes in which harvested rows leave, one file each."""
