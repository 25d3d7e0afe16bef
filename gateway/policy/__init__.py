"""What is allowed for whom: policies as files, read at the start, asked once a request."""
