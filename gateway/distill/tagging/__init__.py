"""Parts of the recipe `span`: from answers to a grammar, from a grammar to a tagger."""
