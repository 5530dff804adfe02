"""What a model may call: Python functions, and the schemas that are made of their types."""
