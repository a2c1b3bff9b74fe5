"""Training: settings, plan, the loop, checkpoints."""
