"""OpenAI's APIs as data: reading requests and answers, rendering local answers."""
