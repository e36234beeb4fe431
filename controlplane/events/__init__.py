"""What changed in the fleet, and why, kept for those who ask later."""
