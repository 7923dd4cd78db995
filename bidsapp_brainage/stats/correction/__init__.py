"""Lines of predicted on chronological age, fitted on reference people of the sample itself."""
