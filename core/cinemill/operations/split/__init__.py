"""A long cine in parts: how long they may be, and how they are cut."""
