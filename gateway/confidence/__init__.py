"""Telling when a draft is as good as the teacher's answer, and noticing when it no longer is."""
