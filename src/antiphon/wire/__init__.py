"""Public shapes: what the OpenAI APIs send and take. Loses no field it does not know."""
