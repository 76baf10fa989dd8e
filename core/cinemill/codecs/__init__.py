"""One small module per library behind one protocol; the table says which codec serves which transfer syntax."""
