"""From a torch module to a network as the engine sees it."""
