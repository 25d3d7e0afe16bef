"""Specialists on OpenAI-compatible servers, as vLLM and llama.cpp: the way past one machine."""
