"""What answers cost, and what they would have cost."""
