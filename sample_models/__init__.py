"""Nine small models with weights, test data and cards: what edgeconv is tried on, by people and by tests."""
