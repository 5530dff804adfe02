"""What makes a cassette of an HTTP client's calls, one module for each library: through its own seams, never by
patching. A module is imported when its library is asked for."""
