"""Events become what a client reads: Responses streams and objects, chat chunks. Sans-IO."""
