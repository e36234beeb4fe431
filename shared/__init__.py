"""What both the control plane and the data plane speak."""
