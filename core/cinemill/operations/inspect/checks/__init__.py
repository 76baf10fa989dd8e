"""The checks: small functions by what they look at, and the table of all of them."""
