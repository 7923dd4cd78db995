"""What the app offers and writes: cards of baselines, methods of explanation and outputs.

Everything that lists one of them derives from here. The cards are plain values; nothing here
imports a heavy library.
"""
