"""One module for each format that text is read from."""
