"""Base models of generative students: fetch, convert, measure, publish."""
