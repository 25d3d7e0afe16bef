"""Text encoders, one file each; the file name is the configuration name."""
