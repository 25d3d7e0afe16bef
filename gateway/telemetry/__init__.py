"""What operators see: metrics, logs, and the queue which brings Outcomes to their observers."""
