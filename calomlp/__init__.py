"""Calorimeter energy regression: simulate, train, evaluate, plot.

The commands are in :mod:`calomlp.cli`; each calls one function of the core below it. The floors of the house, from the
top: ``cli``, ``plotting``, ``evaluation``, ``prediction``, ``training``, ``simulation``, ``model``, ``data``, and the
ground, which are the modules beside this file. A floor imports only from floors below it.
"""

__version__ = "0.1.0"
