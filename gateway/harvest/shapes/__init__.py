"""The shapes in which other tools write down what was asked and answered: one per file."""
