"""Stimuli that are the same to a network at one of its layers: their synthesis, their gate and their judges."""
