"""Into another transfer syntax: the plan, the stages that a frame passes, and the proof."""
