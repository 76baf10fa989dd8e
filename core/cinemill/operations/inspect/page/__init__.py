"""The page of an inspection: findings, trees, pictures, times, regions, measurements; one file that needs nothing else."""
