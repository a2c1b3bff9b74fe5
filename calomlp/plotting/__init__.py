"""Figures, drawings in a terminal, and tables: everything that shows a report, and nothing that computes one."""
