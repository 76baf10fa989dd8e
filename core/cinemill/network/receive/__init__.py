"""Takes instances from the network by C-STORE, and answers for those that it has (PS3.4 Annexes A, B and J)."""
