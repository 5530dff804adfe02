"""The loop: what is next (pure), who does it, and what is written down on the way."""
