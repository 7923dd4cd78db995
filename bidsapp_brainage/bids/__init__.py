"""What to process and how outputs are named: queries, ages, file names, dataset files."""
