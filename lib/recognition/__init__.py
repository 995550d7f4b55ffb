"""Recognition of metamers by people and networks: curves, analyses of variance, tests and agreement."""
