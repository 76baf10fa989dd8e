"""What is done to one instance: each operation from its options to its receipt."""
