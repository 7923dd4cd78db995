"""Changes of sums over windows: which products are needed, and what adds them up."""
