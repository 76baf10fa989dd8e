"""A Part 10 file as bytes: its elements, its values, its frames' bytes; read, rewritten and compared without decoding a frame."""
