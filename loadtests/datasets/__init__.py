"""Recorded data sets, read as streams of requests with the teacher's answer."""

from loadtests.datasets.readers import DataSet, read_data

__all__ = ["DataSet", "read_data"]
