"""The HTTP face: OpenAI-shaped routes over the loop."""
