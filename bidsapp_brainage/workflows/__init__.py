"""How the stages are wired: builders of nipype workflows, and nothing that computes."""
