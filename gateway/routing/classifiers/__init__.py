"""Ways to recognise a task, one file each; the file name is the configuration name."""
