"""What operators see: metrics, spans, logs, and the queue which brings Outcomes to their observers."""
