"""OpenAI's Responses API as data, beside the chat API of the modules around."""
