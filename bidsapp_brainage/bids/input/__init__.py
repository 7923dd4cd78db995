"""The raw dataset: which images it has, whether their content is there, whether it is valid."""
