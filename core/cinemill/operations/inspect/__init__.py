"""What an instance is, whether it is sound, and what was measured in it: facts, findings and measurements."""
