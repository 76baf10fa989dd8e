"""JPEGs that were recompressed as JPEG XL, given back byte for byte and proved."""
