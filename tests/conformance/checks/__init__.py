"""One module a topic; each number belongs to one check for ever."""
