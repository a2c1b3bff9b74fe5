"""Energies of data without truth."""
