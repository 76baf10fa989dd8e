"""JPEG XL: reading codestreams, their boxes, and the JPEGs that some hold."""
