"""The stages of a decomposition, each of which is stored and resumed."""
