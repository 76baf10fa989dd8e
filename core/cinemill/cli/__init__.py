"""Typer commands: parsing, progress and printing only."""
