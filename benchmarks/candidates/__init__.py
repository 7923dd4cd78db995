"""Brain age from regional volumes: candidates under one protocol."""
