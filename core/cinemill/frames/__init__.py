"""What a frame is and looks like: decoded, in which colours, when, where, and how it is shown."""
