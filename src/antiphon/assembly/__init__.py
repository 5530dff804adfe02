"""A model's answer as events: whatever an upstream sends, one correct stream, and a word on what was mended."""
