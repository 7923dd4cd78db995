"""What a run keeps about itself: when, what with, what failed, how much energy."""
