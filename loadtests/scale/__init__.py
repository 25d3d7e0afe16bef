"""From measured costs to the size of a fleet: a queueing model, and a check of it."""
