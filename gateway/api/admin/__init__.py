"""The admin plane's HTTP side: a Litestar application with typed models and tokens."""
