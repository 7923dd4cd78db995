"""Brain age from regional morphometry: results of FreeSurfer and FastSurfer, or a table of them."""
