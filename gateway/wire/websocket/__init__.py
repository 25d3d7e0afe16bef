"""What two ends say to each other in a websocket: its frames, its messages, OpenAI's events in them."""
