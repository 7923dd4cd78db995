"""How far repeated measurements and several raters agree."""
