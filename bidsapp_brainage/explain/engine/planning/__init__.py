"""What changes where for every region: tables made once, of geometry alone."""
