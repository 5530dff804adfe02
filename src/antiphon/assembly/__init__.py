"""Chat-completions streams become events: a sans-IO machine. One module for each upstream wire."""
