"""The regressor: anchor, network, losses, and the file that carries them."""
