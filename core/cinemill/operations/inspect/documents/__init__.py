"""Structured reports, key objects and presentation states: what was measured, what they point to, what they change."""
