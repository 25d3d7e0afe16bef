"""The base models of generative students: fetch, convert, measure, publish."""
