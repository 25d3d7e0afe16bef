"""One module per topic; a number belongs to one check and is never used again."""
