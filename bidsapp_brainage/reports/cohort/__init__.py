"""The page of all scans: ``index.html`` with small pictures, made from what lies in the output."""
