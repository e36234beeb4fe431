"""How a plane follows the control plane's table."""
