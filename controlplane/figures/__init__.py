"""What the router did lately: rates and times out of the planes' sums, and what is kept of them for reports."""
