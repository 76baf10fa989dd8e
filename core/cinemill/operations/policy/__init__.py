"""What becomes of an instance, by rules over its header: copied or coded anew, and for which targets."""
