"""From what an encoder says of each word of an input to an answer."""
