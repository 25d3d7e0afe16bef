"""What speaks for a draft, one signal a file; the file name is the name in a Deferral's weights."""
