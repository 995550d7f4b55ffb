"""Metamers with the evidence for and against them, as they are shown to people."""
