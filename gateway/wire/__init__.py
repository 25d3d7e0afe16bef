"""OpenAI's chat API as data: reading what clients ask, writing what they get."""
