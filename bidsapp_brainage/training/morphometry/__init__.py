"""Training of models that take regional morphometry."""
