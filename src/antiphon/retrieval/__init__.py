"""From files to passages: extraction, chunking, embedding, a hybrid index, search."""
