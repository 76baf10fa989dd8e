"""What is in an archive, as tables: instances, regions, measurements and findings, read from headers alone."""
