"""Metrics, spans and logs for operators, and the queue that brings Outcomes to their observers."""
